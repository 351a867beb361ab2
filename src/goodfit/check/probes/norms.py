"""Batch norm: running statistics against those of the train data, and what they cost."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work, accuracy, cut


@dataclass(frozen=True)
class Norm:
    """One batch norm: divergence of the running from the recalibrated statistics, per channel."""

    name: str
    divergence: float  # mean KL of the Gaussians
    momentum: float  # -1: a cumulative average
    tracked: int  # batches seen; -1: it keeps no statistics
    fresh: bool  # running statistics are as constructed
    eps_share: float  # share of eps in the variance, median channel
    frozen: bool
    training: bool


@dataclass(frozen=True)
class Norms:
    """All batch norms, and the accuracy and loss of evaluation before and after recalibration."""

    norms: tuple[Norm, ...]
    accuracy: float = math.nan
    recalibrated: float = math.nan
    loss: float = math.nan
    loss_recalibrated: float = math.nan
    images: int = 0


def norms(work: Work) -> Norms | None:
    """Recalibrate a clone on the train batches and compare."""
    clone = work.program.clone()
    found = {n: m for n, m in clone.model.named_modules() if isinstance(m, _BatchNorm)}
    if not found:
        return None
    clone.model.train()
    modes = {name: m.training for name, m in found.items()}
    fresh = work.program.clone()
    recalibrate(work, fresh)
    truth = {n: m for n, m in fresh.model.named_modules() if isinstance(m, _BatchNorm)}
    rows = []
    for name, m in found.items():
        new = truth[name]
        if (
            m.running_mean is None
            or m.running_var is None
            or new.running_mean is None
            or new.running_var is None
        ):
            rows.append(
                Norm(name, 0.0, float(m.momentum or 0.0), -1, True, 0.0, False, modes[name])
            )
            continue
        rows.append(
            Norm(
                name,
                divergence(m.running_mean, m.running_var, new.running_mean, new.running_var, m.eps),
                -1.0 if m.momentum is None else float(m.momentum),
                int(m.num_batches_tracked) if m.num_batches_tracked is not None else 0,
                not bool(m.running_mean.any()) and bool((m.running_var == 1).all()),
                float((m.eps / (new.running_var + m.eps)).median()),
                m.weight is not None and not m.weight.requires_grad,
                modes[name],
            )
        )
    loss, right, images = evaluated(work, clone)
    new_loss, new_right, _ = evaluated(work, fresh)
    return Norms(tuple(rows), right, new_right, loss, new_loss, images)


def divergence(mean: Tensor, var: Tensor, new_mean: Tensor, new_var: Tensor, eps: float) -> float:
    """Mean KL divergence over channels of N(new) from N(running)."""
    var, new_var = var.double() + eps, new_var.double() + eps
    kl = 0.5 * (
        new_var / var + (mean.double() - new_mean.double()) ** 2 / var - 1 + (var / new_var).log()
    )
    return float(torch.nan_to_num(kl, 1e9, 1e9).median())


@torch.no_grad()
def recalibrate(work: Work, clone: Clone, batches: int = 16) -> None:
    """Replace running statistics by averages over train batches."""
    for m in clone.model.modules():
        if isinstance(m, _BatchNorm):
            m.reset_running_stats()
            m.momentum = None
    clone.model.train()
    for m in clone.model.modules():
        if isinstance(m, _BatchNorm):
            m.train()
    reseed(5)
    for x, y in work.program.train.batches[:batches]:
        if isinstance(x, Tensor) and len(x) > 1:
            clone.forward(cut(x, y, 256)[0])


@torch.no_grad()
def evaluated(work: Work, clone: Clone) -> tuple[float, float, int]:
    """Loss and accuracy in evaluation mode on train images."""
    clone.model.eval()
    reseed(6)
    losses, right, count = [], [], 0
    for x, y in work.program.train.batches:
        x, y = cut(x, y, 256)
        output = clone.forward(x)
        losses.append(float(clone.loss(output, y)) * len(x))
        right.append(accuracy(clone.pick(output), y) * len(x))
        count += len(x)
        if count >= 2 * work.most:
            break
    return sum(losses) / count, sum(right) / count, count
