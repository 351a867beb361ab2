"""The forms that randomness takes, each with its test of average against evaluation.

Most random layers keep or drop: an output is either 0 or a fixed multiple s of evaluation, or,
in a residual block, one of two values per image. Then the question is whether P(keep) * s = 1,
an exact binomial test over the independent units: values, images or whole batches. Everything
else is tested by t statistics of fixed projections of the draws, with Johnson's correction for
skewness.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from goodfit.audit._finding import Gap

LEAST = 0.005  # smaller gaps are never wrong
HUGE = 0.5  # larger ones always are
_EVENTS = 20  # fewer unusual draws than this are too few to average
_DIRECTIONS = 4
_AGREEING = 4
_VALUES = 1_000_000  # independent values that settle a share to a tenth of a percent


class Average(NamedTuple):
    """How the average over draws compares with evaluation.

    p: probability of so large a difference if there were none. biased: whether a difference
    must be a fault: no curvature of a nonlinearity can explain it. curved: whether there is one.
    """

    p: float
    gap: Gap
    biased: bool
    seen: dict[str, str]
    random_in_eval: bool = False
    curved: bool = False


class Form:
    """One way to judge draws; it gives up when a draw is not of its form."""

    def __init__(self, expected: Tensor) -> None:
        self.expected = expected

    def takes(self, y: Tensor) -> bool:
        raise NotImplementedError

    def is_enough(self) -> bool:
        """Whether more draws would add nothing."""
        return False

    def result(self) -> Average:
        raise NotImplementedError


class Mask(Form):
    """Draws are 0 or s times evaluation, value by value."""

    def __init__(self, expected: Tensor) -> None:
        super().__init__(expected)
        self.valid = expected.abs() > 1e-6 * expected.abs().max()
        self.scale = 0.0
        self.hits: dict[str, list[tuple[int, int]]] = {}
        self.units = {"batches": (0, 1), "images": (1,), "values of all images": (0,), "values": ()}

    def takes(self, y: Tensor) -> bool:
        kept = (y != 0) & self.valid
        rest = torch.where(self.valid, 0.0, y)
        if not self.valid.any() or rest.abs().max() > 1e-4 * self.expected.abs().max():
            return False
        if kept.any():
            ratio = y[kept] / self.expected[kept]
            self.scale = self.scale or ratio.median().item()
            if (ratio - self.scale).abs().max() > 0.02 * abs(self.scale):
                return False
        for unit, dims in list(self.units.items()):
            count = self._count(kept, dims)
            if count is None:
                del self.units[unit]
            else:
                self.hits.setdefault(unit, []).append(count)
        return True

    def is_enough(self) -> bool:
        rows = self.hits["values"]
        return (
            list(self.units) == ["values"] and len(rows) * rows[0][1] > _VALUES and len(rows) > 15
        )

    def _count(self, kept: Tensor, dims: tuple[int, ...]) -> tuple[int, int] | None:
        """Kept units of all, or None if a unit is kept in parts."""
        if not dims:
            return int(kept.sum()), int(self.valid.sum())
        some, total = kept.sum(dims), self.valid.sum(dims)
        if ((some != 0) & (some != total)).any():
            return None
        return int((some > 0).sum()), int((total > 0).sum())

    def result(self) -> Average:
        unit = next(iter(self.units))
        target = 1 / self.scale if self.scale else 0.0
        if not self.scale:  # everything was dropped every time
            return Average(0.0, Gap(-1, -1, -1), biased=True, seen={"average": "always 0"})
        p, share, interval = _binomial(self.hits[unit], target)
        gap = Gap(*(x * self.scale - 1 for x in (share, *interval)))
        tries = sum(t for _, t in self.hits[unit])
        seen = {"kept": f"{share:.2%} of {tries} {unit}", "scaled by": f"{self.scale:.4g}"}
        if share == 1:  # nothing was dropped: only a large unexplained factor is evidence
            gap = Gap(0.0, min(0.0, gap.low), 0.0) if p > 1e-3 else gap
        return Average(p if abs(gap.value) > LEAST else 1.0, gap, biased=True, seen=seen)


class TwoPoints(Form):
    """Each image has one of two outputs, as in a residual block whose branch is skipped."""

    def __init__(self, expected: Tensor) -> None:
        super().__init__(expected)
        self.one: Tensor | None = None
        self.other = torch.zeros_like(expected)
        self.has_other = torch.zeros(len(expected), dtype=torch.bool, device=expected.device)
        self.ones: list[Tensor] = []

    def takes(self, y: Tensor) -> bool:
        if self.one is None:
            self.one = y
        near_one = self._near(y, self.one)
        new = ~near_one & ~self.has_other
        self.other[new], self.has_other = y[new], self.has_other | new
        if not (near_one | self._near(y, self.other)).all():
            return False
        self.ones.append(near_one)
        return True

    def _near(self, a: Tensor, b: Tensor) -> Tensor:
        sizes: Tensor = torch.linalg.vector_norm(torch.stack([a, b]), dim=2).sum(0)
        near: Tensor = torch.linalg.vector_norm(a - b, dim=1) <= 1e-5 * sizes
        return near

    def result(self) -> Average:
        assert self.one is not None
        both = self.has_other
        nothing = Gap(0.0, 0.0, 0.0)
        if not both.any():
            same = bool(self._near(self.one, self.expected).all())
            text = "equals evaluation" if same else "differs, but no draw did"
            return Average(1.0, nothing, biased=False, seen={"every draw": text})
        one, step, place = (
            t[both] for t in (self.one, self.other - self.one, self.expected - self.one)
        )
        used, agree = _place_between(place, step)  # 1: evaluation is the other output
        plain = agree >= 1 / 3
        straight = plain.double().mean().item() >= 0.5
        is_other = ~torch.stack(self.ones)[:, both]  # (draws, images)
        p = _place_test(is_other[:, plain], used[plain]) if straight else 0.0
        mean = one + is_other.double().mean(0)[:, None] * step
        size = self.expected[both].norm().clamp_min(1e-30)
        gap_size = ((mean - self.expected[both]).norm() / size).item()
        error = is_other.double().std(0)[:, None] * step / len(self.ones) ** 0.5
        spread = 1.96 * (error.norm() / size).item()
        gap = Gap(gap_size, max(0.0, gap_size - spread), gap_size + spread)
        often, uses = (
            _above_half(t).mean().item() for t in (is_other.double().mean(0), used[plain])
        )
        seen = {"drawn": f"the commoner of two outputs in {often:.1%} of draws"}
        if straight:
            seen["evaluation"] = f"lies at {uses:.1%} between them"
        p = p if gap_size > LEAST else 1.0
        biased = straight or gap_size > HUGE
        return Average(
            p, gap, biased=biased, seen=seen, curved=bool(agree.min() < 1) and gap_size > LEAST
        )


def _place_between(place: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Where evaluation lies between both outputs, per image; the share of values that agree.

    A ReLU behind the sum bends some values and leaves others, so it is enough that a third of
    those that move agree; fewer than _AGREEING could agree by chance. Values that it cut to zero
    agree with each other at an end and say nothing, unless all of an image lie there.
    """
    moving = step.abs() > 1e-4 * step.abs().amax(1, keepdim=True)
    t = torch.where(moving, place / step, torch.nan)
    inside = moving & ((t - 0.5).abs() < 0.499)
    moving = torch.where(inside.any(1, keepdim=True), inside, moving)
    t = torch.where(moving, t, torch.nan)
    middle = t.nanmedian(1).values
    agree = ((t - middle[:, None]).abs() < 1e-3) & moving
    share = agree.sum(1) / moving.sum(1)
    return middle, torch.where(agree.sum(1) >= _AGREEING, share, 0.0)


def _place_test(hits: Tensor, place: Tensor) -> float:
    """p value of P(hit) = place for every image; `hits` (draws, images).

    Which of the two outputs is called a hit is arbitrary per image. Where places are alike and
    far from a half they are turned to the same side and all images are tested as one.
    """
    below = place < 0.5
    hits, place = torch.where(below, ~hits, hits), torch.where(below, 1 - place, place)
    if place.max() - place.min() < 2e-3 and place.mean() > 0.55:
        return _binomial(_units(hits), place.mean().item())[0]
    each = [
        _binomial([(int(h), 1) for h in hits[:, i]], place[i].item())[0] for i in range(len(place))
    ]
    return min(1.0, len(each) * min(each))


def _above_half(share: Tensor) -> Tensor:
    return torch.where(share < 0.5, 1 - share, share)


class Projections(Form):
    """Any form of randomness: t tests of a few fixed projections."""

    def __init__(self, expected: Tensor) -> None:
        super().__init__(expected)
        generator = torch.Generator().manual_seed(0)
        shape = (_DIRECTIONS - 2, expected.numel())
        signs = (torch.randint(2, shape, generator=generator) * 2 - 1).to(expected)
        row, scale = expected.reshape(1, -1), expected.norm().clamp_min(1e-30)
        size = row.numel() ** 0.5
        self.directions = torch.cat([row / scale, torch.ones_like(row) / size, signs / size])
        self.scale: float = scale.item()
        self.rows: list[np.ndarray] = []
        self.halves = [torch.zeros_like(expected), torch.zeros_like(expected)]
        self.last: Tensor | None = None
        self.changes = 0

    def takes(self, y: Tensor) -> bool:
        difference = y - self.expected
        self.rows.append((self.directions @ difference.flatten()).cpu().numpy())
        self.halves[len(self.rows) % 2] += difference
        if self.last is not None:
            self.changes += int((y - self.last).norm() > 1e-5 * self.last.norm())
        self.last = y
        return True

    def result(self) -> Average:
        rows, k = np.stack(self.rows).astype(float), len(self.rows)
        p = min(1.0, _DIRECTIONS * min(_johnson(rows[:, j]) for j in range(_DIRECTIONS)))
        along = rows[:, 0] / self.scale
        half_width = 1.96 * along.std(ddof=1) / k**0.5
        mean = float(along.mean())
        gap = Gap(mean, mean - half_width, mean + half_width)
        seen = {"average": f"{1 + mean:.4f} of evaluation, over {k} draws"}
        if self.changes < 2 * _EVENTS:
            return Average(1.0, gap, biased=False, seen=seen)
        one, two = (half / (k / 2) for half in self.halves)
        size = self.scale**2
        total = max(0.0, (one * two).sum().item()) / size  # unbiased squared relative gap
        rest = [half - mean * self.expected for half in (one, two)]
        bent = (rest[0] * rest[1]).sum().item() / size
        seen["gap"] = f"{total**0.5:.2%} of evaluation in all"
        biased = total > HUGE**2 or (abs(mean) > LEAST and bent < 0.05 * mean**2)
        if max(abs(mean), total**0.5) < LEAST:
            p = 1.0
        return Average(p, gap, biased=biased, seen=seen)


def _units(hits: Tensor) -> list[tuple[int, int]]:
    """Per draw, hits among images; among whole batches if all images always agree."""
    if hits.shape[1] > 1 and (hits == hits[:, :1]).all():
        hits = hits[:, :1]
    return [(int(row.sum()), hits.shape[1]) for row in hits]


def _binomial(
    counts: list[tuple[int, int]], target: float
) -> tuple[float, float, tuple[float, float]]:
    """(p value of P(hit) = target, share of hits, 95% interval), from (hits, tries) per draw.

    Where draws scatter more than independent units would, their number is reduced accordingly.
    """
    hits, tries = (np.array(c, float) for c in zip(*counts, strict=True))
    share, per_draw = hits.sum() / tries.sum(), tries.mean()
    total = tries.sum()
    if per_draw > 1 and 0 < share < 1 and len(counts) > 1:
        excess = (hits / tries).var(ddof=1) * per_draw / (share * (1 - share))
        if excess > 1 + 5 * (2 / len(counts)) ** 0.5:
            total /= excess
    n = max(1, round(total))
    test = stats.binomtest(round(share * n), n, min(1.0, max(0.0, target)))
    interval = test.proportion_ci(0.95)
    outside = target < -1e-9 or target > 1 + 1e-3
    p = 0.0 if outside and share < 1 else float(test.pvalue)
    return p, float(share), (float(interval.low), float(interval.high))


def _johnson(x: np.ndarray) -> float:
    """p value of mean 0, by Johnson's modified t (1978), which allows for skewness."""
    n, mean, var = len(x), x.mean(), x.var(ddof=1)
    if var <= 1e-24 * (x**2).max(initial=1e-300):
        return 1.0
    third = ((x - mean) ** 3).mean()
    t = (mean + third / (6 * var * n) + third * mean**2 / (3 * var**2)) * (n / var) ** 0.5
    return float(2 * stats.t.sf(abs(t), n - 1))
