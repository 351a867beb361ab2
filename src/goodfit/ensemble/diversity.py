"""How differently members err: what an ensemble lives on.

    disagreement        share of images on which two members name different classes
    error correlation   Pearson's, of two members' mistakes (1 wrong, 0 right), by image
    any right           share of images that at least one member gets right

The first two are means over all pairs. Members that err together gain nothing by averaging.

Source: Kuncheva & Whitaker 2003; Fort et al. 2019, arXiv:1912.02757.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from goodfit.metrics import Interval, Record


class Diversity(Record):
    """How differently members err. The correlation is None where a member is never wrong."""

    disagreement: float
    error_correlation: float | None
    any_right: float


def diversity(probabilities: Sequence[Any], labels: Any) -> Diversity:
    """Of members' probabilities (n, k) each, on images with `labels` (n,)."""
    said = np.stack([np.asarray(p).argmax(1) for p in probabilities])  # (m, n)
    wrong = (said != np.asarray(labels)).astype(np.float64)
    pairs = list(combinations(range(len(said)), 2))
    spread = wrong.std(axis=1)
    related = [
        float(((wrong[i] - wrong[i].mean()) * (wrong[j] - wrong[j].mean())).mean())
        / float(spread[i] * spread[j])
        for i, j in pairs
        if spread[i] * spread[j] > 0
    ]
    return Diversity(
        disagreement=float(np.mean([(said[i] != said[j]).mean() for i, j in pairs])),
        error_correlation=float(np.mean(related)) if related else None,
        any_right=float((wrong.min(axis=0) == 0).mean()),
    )


def gain(ensemble: Any, member: Any, labels: Any, level: float = 0.95, seed: int = 0) -> Interval:
    """Accuracy of the ensemble minus a member's on the same images: paired bootstrap interval."""
    y = np.asarray(labels)
    gap = 1.0 * (np.asarray(ensemble).argmax(1) == y) - (np.asarray(member).argmax(1) == y)
    shares = np.array([(gap == step).mean() for step in (-1, 0, 1)])
    drawn = np.random.default_rng(seed).multinomial(len(y), shares, size=4000) @ [-1, 0, 1]
    low, high = np.quantile(drawn / len(y), [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=float(gap.mean()), low=float(low), high=float(high))
