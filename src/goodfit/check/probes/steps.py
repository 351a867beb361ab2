"""What an optimizer's step does beside following the gradient, and which group is far too fast."""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from goodfit.check.program import Program

FAR = 20.0  # the fastest group's rate over the next one's


def left_by_a_step(program: Program) -> float:
    """What one step leaves of the weights' size when every gradient is zero.

    Weight decay takes a thousandth or so; a clamp or a projection may take nearly all. nan when
    the step cannot be done without a loss.
    """
    optimizer = program.clone().optimizer
    if optimizer is None:
        return math.nan
    weights = [p for group in optimizer.param_groups for p in group["params"] if p.ndim > 1]
    try:
        before = _size(weights)
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.zeros_like(p)
        optimizer.step()
        return _size(weights) / before if before > 0 else math.nan
    except Exception:
        return math.nan


def _size(weights: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(w.detach().double().square().sum()) for w in weights))


def ceiling(rates: list[float]) -> float | None:
    """The highest rate but for groups that are far faster than all others; None without such."""
    rates = sorted({rate for rate in rates if rate > 0})
    return rates[-2] if len(rates) > 1 and rates[-1] > FAR * rates[-2] else None


def fast_place(model: nn.Module, optimizer: Optimizer, rates: list[float]) -> str:
    """The first module whose weights are in the fastest group."""
    fast = optimizer.param_groups[rates.index(max(rates))]["params"]
    held = {id(p) for p in fast}
    names = [name for name, p in model.named_parameters() if id(p) in held]
    return (names[0].rpartition(".")[0] or names[0]) if names else "the optimizer"
