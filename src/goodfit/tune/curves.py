"""What the curves of a training say: rules on records, each with what to change.

    lr-too-high   the loss rises, breaks, or stays at chance after a start
    lr-too-low    the loss still falls steadily at the end, and has not fallen far
    underfit      training images are not learned either, and not worse than validation
    overfit       training images are learned much better than validation images
    plateau       neither loss nor validation accuracy move in the second half

A rule speaks only where the difference exceeds what the number of validation images lets vary by
chance (two standard errors). Several may speak at once.

Source: Johnson, EECS 498, step 6 of "choosing hyperparameters". Lecture: Choosing hyperparameters.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite, log, prod, sqrt
from statistics import fmean
from typing import NamedTuple


class Curves(NamedTuple):
    """One training, from its log."""

    losses: tuple[float, ...]  # of the updates, training images as augmented
    accuracies: tuple[float, ...]  # on validation, at each look
    val_losses: tuple[float, ...]
    classes: int
    images: int  # in the validation split
    train_accuracy: float | None = None  # at the end, on images as they are

    @property
    def gap(self) -> float | None:
        """How much better training images are known than validation images."""
        if self.train_accuracy is None or not self.accuracies:
            return None
        return self.train_accuracy - self.accuracies[-1]

    @property
    def error(self) -> float:
        """Standard error of the last validation accuracy."""
        p = self.accuracies[-1] if self.accuracies else 0.5
        return sqrt(max(p * (1 - p), 0.25 / max(self.images, 1)) / max(self.images, 1))


class Sign(NamedTuple):
    """What a rule found, in words, and what it asks of the next round."""

    rule: str
    words: str
    advice: str
    lr: float = 1.0  # factor on the center of the learning rate
    regularize: float = 1.0  # factor on the center of the weight decay
    epochs: float = 1.0  # factor on the epochs of a trial


def look(curves: Curves) -> list[Sign]:
    """Everything the rules find."""
    found = [rule(curves) for rule in RULES]
    return [sign for sign in found if sign is not None]


def together(signs: Sequence[Sign]) -> Sign | None:
    """What several signs ask of the next round, as one; None if there are none."""
    if not signs:
        return None
    return Sign(
        " and ".join(s.rule for s in signs),
        "",
        "",
        prod(s.lr for s in signs),
        prod(s.regularize for s in signs),
        prod(s.epochs for s in signs),
    )


def lr_too_high(c: Curves) -> Sign | None:
    if len(c.losses) < 4:
        return None
    broke = not all(map(isfinite, c.losses))
    means = _means([x for x in c.losses if isfinite(x)], 10)
    first, chance = means[0], log(max(2, c.classes))
    rises = max(means) > 1.5 * first and means[-1] > 1.2 * first
    stuck = means[-1] > 0.97 * chance and min(means) < 0.9 * means[-1]
    if not (broke or rises or stuck):
        return None
    what = "stops being finite" if broke else "rises" if rises else "returns to chance"
    return Sign(
        "lr-too-high",
        f"the loss {what}: it begins at {first:.3g} and ends at {c.losses[-1]:.3g}",
        "lower the learning rate",
        lr=0.3,
    )


def lr_too_low(c: Curves) -> Sign | None:
    if len(c.losses) < 10 or not all(map(isfinite, c.losses)):
        return None
    means = _means(c.losses, 6)
    fall, late = means[0] - means[-1], means[-3] - means[-1]
    falling = all(a >= b for a, b in pairwise(means))
    far = means[-1] < 0.6 * means[0]
    if fall <= 0 or not falling or far or late < 0.3 * fall:
        return None
    return Sign(
        "lr-too-low",
        f"the loss falls steadily, from {means[0]:.3g} to {means[-1]:.3g}, and has not bent yet",
        "raise the learning rate",
        lr=3.0,
    )


def underfit(c: Curves) -> Sign | None:
    if c.gap is None or c.train_accuracy is None:
        return None
    if c.train_accuracy > 0.9 or c.gap > max(0.02, 2 * c.error):
        return None
    return Sign(
        "underfit",
        f"training images reach {c.train_accuracy:.1%}, no better than validation images",
        "train longer, regularize less, or take a larger net",
        regularize=0.3,
        epochs=1.5,
    )


def overfit(c: Curves) -> Sign | None:
    gap = c.gap
    wide = gap is not None and gap > 0.05 + 2 * c.error
    low = min(c.val_losses, default=0.0)
    rises = len(c.val_losses) > 3 and c.val_losses[-1] > 1.15 * low + 0.01
    if not wide and not rises:
        return None
    seen = f"validation loss rises from {low:.3g} to {c.val_losses[-1]:.3g}" if rises else ""
    known = f"training images are known {gap:.1%} better than validation images" if wide else ""
    return Sign(
        "overfit",
        " and ".join(part for part in (known, seen) if part),
        "regularize more: weight decay, augmentation, label smoothing",
        regularize=3.0,
    )


def plateau(c: Curves) -> Sign | None:
    half = len(c.accuracies) // 2
    if half < 2 or len(c.losses) < 10:
        return None
    before, after = max(c.accuracies[:half]), max(c.accuracies[half:])
    means = _means(c.losses, 6)
    still = abs(means[2] - means[-1]) < 0.05 * max(means[0] - means[-1], 1e-9)
    if after - before > c.error or not still or not all(map(isfinite, means)):
        return None
    return Sign(
        "plateau",
        f"validation accuracy stays at {after:.1%} and the loss at {means[-1]:.3g} "
        "through the second half",
        "let the learning rate decay, or stop earlier",
        epochs=0.7,
    )


RULES: tuple[Callable[[Curves], Sign | None], ...] = (
    lr_too_high,
    lr_too_low,
    underfit,
    overfit,
    plateau,
)


def _means(values: Sequence[float], parts: int) -> list[float]:
    """Means of `parts` equal stretches, so that single batches do not decide."""
    if not values:
        return [float("nan")]
    parts = min(parts, len(values))
    edges = [round(i * len(values) / parts) for i in range(parts + 1)]
    return [fmean(values[a:b]) for a, b in pairwise(edges)]
