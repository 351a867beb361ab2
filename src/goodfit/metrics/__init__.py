"""How good a classifier is, with intervals: accuracy, calibration, every class, the worst mistakes.

    evaluate(probabilities (n, k), labels (n,), classes) → Metrics

Accuracy, top-5, precision and recall carry Wilson intervals; NLL, Brier score and ECE bootstrap
intervals over the images. Calibration is given as trained and after temperature scaling; the
temperature comes from the validation split. The intervals count the sampling of the test images,
not the luck of the training seed: to compare recipes, compare several seeds.

Nothing here needs torch, so records can be read and printed without it.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Int
from pydantic import Field

from goodfit.errors import DataError, ModelError
from goodfit.metrics.calibration import (
    Bin,
    Calibration,
    as_array,
    calibration_of,
    nll_of,
    scaled,
    temperature,
)
from goodfit.metrics.intervals import Interval, Record, bootstrap, clopper_pearson, wilson

__all__ = [
    "Bin",
    "Calibration",
    "ClassScore",
    "Interval",
    "Metrics",
    "Mistake",
    "Record",
    "Score",
    "bootstrap",
    "clopper_pearson",
    "evaluate",
    "scaled",
    "score",
    "temperature",
    "wilson",
]


class ClassScore(Record):
    """One class. A ratio is None where nothing can be divided: no images, or never predicted."""

    name: str
    images: int
    predicted: int
    precision: Interval | None
    recall: Interval | None
    f1: float | None


class Mistake(Record):
    """A wrong prediction: `index` is the image's place among those evaluated."""

    index: int
    label: int
    predicted: int
    confidence: float
    label_probability: float


class Metrics(Record):
    """Everything that is known about a classifier on one set of images.

    top5 is None with five classes or fewer, where it says nothing. `confusion` lists the cells
    that are not zero as (label, predicted, images). `scaled` is None without a temperature.
    """

    images: Annotated[int, Field(ge=1)]
    classes: tuple[str, ...]
    level: float
    accuracy: Interval
    top5: Interval | None
    balanced_accuracy: float  # mean recall of the classes that have images
    macro_f1: float  # mean over the classes that have images or are predicted
    calibration: Calibration
    temperature: float | None
    scaled: Calibration | None
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, int, int], ...]
    mistakes: tuple[Mistake, ...]

    def confusion_matrix(self) -> Int[np.ndarray, "k k"]:
        """Images by label (row) and prediction (column)."""
        matrix = np.zeros((len(self.classes),) * 2, np.int64)
        for label, predicted, images in self.confusion:
            matrix[label, predicted] = images
        return matrix


def evaluate(
    probabilities: Any,
    labels: Any,
    classes: Sequence[str],
    *,
    temperature: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    mistakes: int = 24,
) -> Metrics:
    """Judge `probabilities` (n, k) against `labels` (n,); tensors or arrays.

    `temperature` comes from `temperature(...)` on the validation split, never from these images.
    Of equal probabilities the class that comes first wins, as argmax has it.
    """
    p, y = _checked(probabilities, labels, len(classes))
    n, k = p.shape
    own = p[np.arange(n), y]
    earlier = np.arange(k) < y[:, None]
    rank = ((p > own[:, None]) | (earlier & (p == own[:, None]))).sum(axis=1)
    predicted, confidence = p.argmax(axis=1), p.max(axis=1)
    cells, counts = np.unique(y * k + predicted, return_counts=True)
    per_class = _per_class(y, predicted, classes, level)
    wrong = np.flatnonzero(rank > 0)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:mistakes]
    recalls = [c.recall.value for c in per_class if c.recall]
    return Metrics(
        images=n,
        classes=tuple(classes),
        level=level,
        accuracy=wilson(int((rank == 0).sum()), n, level),
        top5=wilson(int((rank < 5).sum()), n, level) if k > 5 else None,
        balanced_accuracy=float(np.mean(recalls)),
        macro_f1=float(np.mean([c.f1 for c in per_class if c.f1 is not None])),
        calibration=calibration_of(p, y, level=level, seed=seed),
        temperature=temperature,
        scaled=None
        if temperature is None
        else calibration_of(scaled(p, temperature), y, level=level, seed=seed),
        per_class=per_class,
        confusion=tuple(
            (int(c // k), int(c % k), int(m)) for c, m in zip(cells, counts, strict=True)
        ),
        mistakes=tuple(
            Mistake(
                index=int(i),
                label=int(y[i]),
                predicted=int(predicted[i]),
                confidence=float(confidence[i]),
                label_probability=float(own[i]),
            )
            for i in worst
        ),
    )


class Score(NamedTuple):
    """What training looks at between epochs: no intervals, a fraction of the time."""

    accuracy: float
    nll: float


def score(probabilities: Any, labels: Any) -> Score:
    """Accuracy and mean NLL of `probabilities` (n, k)."""
    p = as_array(probabilities)
    p, y = _checked(p, labels, p.shape[-1])
    return Score(float((p.argmax(axis=1) == y).mean()), float(nll_of(p, y).mean()))


def _checked(probabilities: Any, labels: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    p, y = as_array(probabilities), as_array(labels).astype(np.int64)
    if p.ndim != 2 or p.shape[1] != k or y.shape != p.shape[:1]:
        raise DataError(
            "probabilities, labels and classes do not belong together",
            probabilities=f"shape {p.shape}",
            labels=f"shape {y.shape}",
            classes=k,
            fix="give probabilities (n, k), labels (n,) and k class names",
        )
    if len(y) == 0:
        raise DataError("there is no image to evaluate on", fix="give at least one labeled image")
    if y.min() < 0 or y.max() >= k:
        raise DataError(
            "a label names no class",
            seen=f"labels {y.min()} to {y.max()}, classes 0 to {k - 1}",
            fix="match labels to classes by name before evaluating",
        )
    if not np.isfinite(p).all():
        raise ModelError(
            "the probabilities are not finite",
            images=f"{(~np.isfinite(p)).any(axis=1).sum()} of {len(p)}",
            fix="look for the layer whose output is not finite: `goodfit check` names it",
        )
    total = p.sum(axis=1, dtype=np.float64)
    if p.min() < 0 or abs(total - 1).max() > 1e-2:
        raise DataError(
            "these are not probabilities",
            seen=f"values from {p.min():.3g} to {p.max():.3g}, rows sum to {total[0]:.3g}",
            fix="apply softmax to logits first, over the classes",
        )
    return p, y


def _per_class(
    y: np.ndarray, predicted: np.ndarray, classes: Sequence[str], level: float
) -> tuple[ClassScore, ...]:
    k = len(classes)
    has, said = np.bincount(y, minlength=k), np.bincount(predicted, minlength=k)
    right = np.bincount(y[y == predicted], minlength=k)
    return tuple(
        ClassScore(
            name=name,
            images=h,
            predicted=s,
            precision=wilson(r, s, level) if s else None,
            recall=wilson(r, h, level) if h else None,
            f1=2 * r / (h + s) if h + s else None,
        )
        for name, h, s, r in zip(classes, has.tolist(), said.tolist(), right.tolist(), strict=True)
    )
