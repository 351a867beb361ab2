"""Can the program learn one small batch by heart, where a plain reference can?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check.program import reseed
from goodfit.check.work import Work, accuracy, samples_in, truth


@dataclass(frozen=True)
class Overfit:
    """The best of a few learning rates on one small batch, and a plain network's on the same."""

    start: float = math.nan
    end: float = math.nan
    accuracy: float = math.nan
    reference: float = math.nan  # accuracy of the plain network
    images: int = 0
    steps: int = 0


def overfit(work: Work, images: int = 16) -> Overfit | None:
    """Adam at three learning rates on one batch, without dropout; no steps if training learned."""
    if work.learned:
        return Overfit()  # the catch-all has nothing to catch
    x, y = work.small(images)
    classes = truth(y, torch.empty(1, 2))
    if not isinstance(x, Tensor) or classes is None or len(classes.unique()) < 2:  # type: ignore[no-untyped-call]
        return None
    steps = int(min(150, max(60, 1.0 / max(work.step_seconds * 0.3, 1e-4))))
    best, whole = Overfit(), max(len(x), samples_in(work.batch()[0]))
    each = steps * work.step_seconds * len(x) / whole
    for lr in (1e-3, 1e-2, 1e-4):
        if work.left() < max(1.5, each):
            break
        run = _one(work, x, y, lr, steps)
        if run is not None and not (best.accuracy >= run.accuracy):
            best = run
        if best.accuracy > 0.95:
            break
    return Overfit(best.start, best.end, best.accuracy, _reference(x, classes), len(x), steps)


def _one(work: Work, x: Tensor, y: Any, lr: float, steps: int) -> Overfit | None:
    clone = work.program.clone()
    wanted = [p for p in clone.model.parameters() if p.requires_grad]
    if not wanted:
        return None
    optimizer = torch.optim.Adam(wanted, lr=lr)
    clone.model.train()
    for module in clone.model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    reseed(work.program.seed + 5)
    values: list[float] = []
    right = 0.0
    for _ in range(steps):
        output = clone.forward(x)
        value = clone.loss(output, y)
        right = max(right, accuracy(clone.pick(output), y))
        values.append(float(value.detach()))
        if not math.isfinite(values[-1]):
            break
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if right > 0.99 and values[-1] < 0.3 * values[0]:
            break
    return Overfit(values[0], values[-1], right)


def _reference(x: Tensor, classes: Tensor) -> float:
    """Accuracy of a plain two-layer network on the same batch."""
    flat = x.float().flatten(1)
    flat = (flat - flat.mean(0)) / flat.std(0).clamp_min(1e-6)
    reseed(0)
    count = int(classes.max()) + 1
    net = nn.Sequential(nn.Linear(flat.shape[1], 64), nn.ReLU(), nn.Linear(64, count)).to(x.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(flat), classes.clamp_min(0)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return accuracy(net(flat), classes)
