"""Val samples that are also in train.

## Why it matters
The net has seen their labels, so val accuracy is too good and selects the wrong model.

## What to do
Split first, then augment, balance or duplicate; split by source (person, video, patient) and not
by frame.

## When it is wrong
Data with few possible inputs repeat by nature; there the rule compares with how often train samples
repeat among themselves. Mirror images count as repeats.

Evidence: bitwise equal samples or near copies, with the binomial chance that so many repeat by
nature; Holm over the report.

Source: Barz and Denzler 2020, arXiv:1902.00423; exact and near duplicates, binomial test.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from scipy.stats import binom
from torch import Tensor

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.learnable import spread
from goodfit.check.probes.samples import Samples, fingerprints
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction

FIX = "split into train and val first, by source; only then augment, balance or duplicate"


def small(x: Tensor) -> Tensor:
    """Images as normalized vectors of 16 x 16 gray cells."""
    if min(x.shape[-2:]) > 16:
        x = F.adaptive_avg_pool2d(x, 16)
    flat = x.mean(1).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-9)  # type: ignore[no-any-return]


def nearest(a: Tensor, b: Tensor, skip_self: bool = False) -> Tensor:
    """Highest correlation of each row of `a` with a row of `b` or its mirror image."""
    side = int(a.shape[1] ** 0.5 + 0.5)
    views = [b]
    if side * side == b.shape[1]:
        views.append(b.reshape(-1, side, side).flip(-1).reshape(len(b), -1))
    best = torch.full((len(a),), -1.0)
    for i, view in enumerate(views):
        close = a @ view.T
        if skip_self and i == 0:
            close.fill_diagonal_(-1.0)
        best = torch.maximum(best, close.amax(1))
    return best


def rich(x: Tensor) -> bool:
    """Whether inputs are so various that two never are equal by nature.

    Many values say so, and so do samples that all lie far from each other unless they are equal.
    """
    if x[0].numel() < 64:
        return False
    if len(x[:64].unique()) > 64:  # type: ignore[no-untyped-call]
        return True
    some = x[:400].flatten(1).unique(dim=0)  # type: ignore[no-untyped-call]
    if len(some) < 32 or not bool(some.isfinite().all()):
        return False
    apart = torch.pdist(some.float()).square()
    return float(apart.min()) > 0.3 * float(apart.median())


class TrainValLeak(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    share: Fraction = 0.01  # of val that may be in train
    alike: Fraction = 0.995  # correlation of near duplicates

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        if data.val is None or data.train.x.shape[1:] != data.val.x.shape[1:]:
            return
        train, val = data.train, data.val
        marks, others = fingerprints(train.x), fingerprints(val.x)
        hit = torch.isin(others, marks)
        if val.x.ndim == 4:
            hit |= torch.isin(fingerprints(val.x.flip(-1)), marks)
        unique, counts = marks.unique(return_counts=True)  # type: ignore[no-untyped-call]
        within = float((counts > 1).sum() / max(1, len(unique))) if not train.draws else 0.0
        within = 0.0 if rich(train.x) else within
        if (p := self.chance(int(hit.sum()), len(val), within)) < 1e-6:
            first = int(hit.int().argmax())
            yield self.finding(
                f"val sample {first}",
                equal=f"{int(hit.sum())} of {len(val)} val samples are in train",
                within=f"{within:.1%} of the train samples repeat",
                chance=p,
                fix=FIX,
            )
            return
        if train.x.ndim != 4 or min(train.x.shape[2:]) < 8 or not bool(train.x.isfinite().all()):
            return
        a, b = small(train.x[spread(len(train), 2000)]), small(val.x[spread(len(val), 800)])
        close = nearest(b, a) > self.alike
        base = float((nearest(a[:800], a, skip_self=True) > self.alike).float().mean())
        if base < 0.3 and (p := self.chance(int(close.sum()), len(b), base + 0.01)) < 1e-6:
            yield self.finding(
                f"val sample {int(close.int().argmax())}",
                alike=f"{int(close.sum())} of {len(b)} val samples have a near copy in train "
                f"(correlation above {self.alike})",
                within=f"{base:.1%} of the train samples have one",
                chance=p,
                fix=FIX,
            )

    def chance(self, hits: int, count: int, usual: float) -> float:
        """That so many val samples repeat when repeats are as common as within train."""
        if hits < 3 or hits / count <= max(self.share, 2 * usual):
            return 1.0
        return float(binom.sf(hits - 1, count, max(usual, 1e-4)))
