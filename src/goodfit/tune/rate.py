"""Which learning rate makes the loss fall fastest: every rate is tried on a copy from the start.

First the decades from 1e-4 to 10, then half a decade on both sides of the best; each for at most
100 updates at a constant rate. The answer is the largest rate whose loss has fallen within a
twentieth of the best fall: large rates generalize better, and the search goes on around it.

A rate counts as diverged when the loss stops being finite or ends above where it began. Nothing is
changed: model, optimizer, random states and the loader are bit for bit as before.

Source: Johnson, EECS 498, step 3 of "choosing hyperparameters". Lecture: Choosing hyperparameters.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.batch import Batch
from goodfit.errors import TrainingError
from goodfit.fit import fit
from goodfit.tune.untouched import copied, untouched

DECADES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_HALF = 10**0.5


class Tried(NamedTuple):
    """What one rate did to the loss."""

    lr: float
    losses: tuple[float, ...]

    @property
    def end(self) -> float:
        """The mean of the last fifth; infinite where training broke."""
        if not self.losses or not isfinite(self.losses[-1]):
            return float("inf")
        return fmean(self.losses[-max(1, len(self.losses) // 5) :])


class Rates(NamedTuple):
    """All rates tried, in order, and the one found; None if none lowers the loss."""

    tried: tuple[Tried, ...]
    start: float  # loss before any update
    lr: float | None
    seconds_per_step: float


def search_lr(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    lrs: Sequence[float] = DECADES,
    steps: int = 100,
    seconds: float = float("inf"),
    **settings: Any,
) -> Rates:
    """Try every rate on copies of `model` and `optimizer`, which are left as they are.

    lrs: of the first parameter group; those of the others keep their ratio to it.
    seconds: for all rates together; a rate that would start later is left out.
    settings: those of `fit`: augment, penalties, clip_norm, precision, seed, accumulate.
    """
    began, taken = time.monotonic(), 0
    tried: dict[float, Tried] = {}

    def attempt(lr: float) -> None:
        nonlocal taken
        late = time.monotonic() - began
        if lr in tried or (tried and late * (1 + 1 / len(tried)) > seconds):
            return
        with untouched(batches):
            tried[lr] = _tried(model, optimizer, batches, lr, steps, {"loss": loss, **settings})
        taken += len(tried[lr].losses)

    for lr in sorted(lrs, key=lambda lr: abs(lr - 0.1)):  # the likeliest first
        attempt(lr)
    best = min(tried.values(), key=lambda t: t.end).lr
    for lr in (best / _HALF, best * _HALF):
        attempt(float(f"{lr:.3g}"))
    rows = tuple(sorted(tried.values()))
    start = max(row.losses[0] for row in rows)
    return Rates(rows, start, chosen(rows, start), (time.monotonic() - began) / max(1, taken))


def chosen(tried: Sequence[Tried], start: float) -> float | None:
    """The largest rate whose loss fell by 95% of the largest fall."""
    falls = {row.lr: start - row.end for row in tried}
    most = max(falls.values(), default=0.0)
    if not isfinite(start) or most <= 0.01 * abs(start):
        return None
    return max(lr for lr, fall in falls.items() if fall >= 0.95 * most)


def _tried(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    lr: float,
    steps: int,
    settings: dict[str, Any],
) -> Tried:
    new, moved = copied(model, optimizer)
    ratio = lr / moved.param_groups[0]["lr"]
    for group in moved.param_groups:
        group["lr"] *= ratio
        group.pop("peak_lr", None)
    losses: list[Tensor] = []
    limit = float("inf")
    try:
        for step in fit(new, batches, optimizer=moved, steps=steps, **settings):
            losses.append(step.loss.detach())
            if step.number == 1:
                limit = 4 * abs(float(step.loss)) + 4
            if step.number % 10 == 0 and not float(step.loss) < limit:
                break  # it will not come back within the steps that are left
    except TrainingError:
        losses.append(torch.tensor(float("inf")))
    return Tried(lr, tuple(torch.stack([x.float().cpu() for x in losses]).tolist()))
