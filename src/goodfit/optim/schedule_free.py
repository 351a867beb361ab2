"""Average the weights along the way, so that no end of the run has to be known.

    y = (1 - beta) z + beta x       where the gradient g is taken; the model holds y in training
    z ← z - lr (d + decay y)        d = g, or g / (sqrt(v̂) + eps) with `adaptive`
    x ← (1 - c) x + c z             c = lr^2 / sum of all lr^2 so far

What is evaluated is x: `swapped()` puts it in for the time of a `with`; batch norm's statistics
belong to y and must be recomputed for x. Use it with the constant schedule and a warmup. Training
can stop at any time; where the end is known, the cosine is as good and simpler.

Source: Defazio et al. 2024, arXiv:2405.15682. Lecture: Optimization; Learning rate schedules.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale
from goodfit.optim._stepping import OwnOptimizer


class ScheduleFree(Optim):
    lr: Positive = 2.5e-3
    beta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.9
    adaptive: bool = True  # as AdamW; false is SGD, with rates ten to a thousand times as large
    beta2: Momentum = 0.999
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.05
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> "Averaging":
        return Averaging([group.as_torch() for group in self.groups(model)], self)


class Averaging(OwnOptimizer):
    def __init__(self, groups: list[dict[str, Any]], settings: ScheduleFree) -> None:
        defaults = {"lr": settings.lr, "weight_decay": 0.0, "steps": 0, "weight_sum": 0.0}
        defaults |= {"beta": settings.beta, "beta2": settings.beta2, "eps": settings.eps}
        super().__init__(groups, defaults | {"adaptive": settings.adaptive})

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        lr, beta = group["lr"], group["beta"]
        group["steps"] += 1
        group["weight_sum"] += lr**2
        share = lr**2 / group["weight_sum"] if group["weight_sum"] else 0.0
        for p in params:
            if "z" not in self.state[p]:
                self.state[p]["z"] = p.detach().clone(memory_format=torch.preserve_format)
        steps = self._normalized(group, params, grads) if group["adaptive"] else grads
        steps = list(torch._foreach_add(steps, params, alpha=group["weight_decay"]))
        z = [self.state[p]["z"] for p in params]
        torch._foreach_lerp_(params, z, 1 - 1 / beta)  # y → x
        torch._foreach_add_(z, steps, alpha=-lr)
        torch._foreach_lerp_(params, z, share)  # x → next x
        torch._foreach_lerp_(params, z, 1 - beta)  # x → y

    def _normalized(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> list[Tensor]:
        squares, beta2 = self.buffers(params, "square"), group["beta2"]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        roots = torch._foreach_div(squares, 1 - beta2 ** group["steps"])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        return list(torch._foreach_div(grads, roots))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """For the time of a `with`, the model holds the averaged weights x."""
        kept = []
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if "z" in self.state[p]:
                        kept.append((p, p.detach().clone()))
                        p.lerp_(self.state[p]["z"], 1 - 1 / group["beta"])
        try:
            yield
        finally:
            with torch.no_grad():
                for p, y in kept:
                    p.copy_(y)
