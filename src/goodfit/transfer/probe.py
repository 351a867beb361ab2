"""The linear probe on cached features, and what it says about how to go on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from goodfit.transfer.features import Features
from goodfit.transfer.logistic import Linear, logistic, path, scale_of

FEW, MANY = 100, 1000  # images per class
_ALIKE, _UNLIKE = 0.9, 0.3  # share of the way from guessing to no error
_FOLDS = 4


class Tried(NamedTuple):
    """One strength of the grid, on the validation images."""

    l2: float
    accuracy: float
    loss: float


class Probe(NamedTuple):
    """A classifier of features, with the l2 that validation chose."""

    head: Linear  # of the features as the net gives them
    l2: float
    accuracy: float  # on validation
    tried: tuple[Tried, ...]


def probed(train: Features, val: Features, classes: int) -> Probe:
    """The probe whose probabilities are the best on validation; the stronger l2 on a tie."""
    x, labels, weights = train.stacked()
    scale = scale_of(x)
    tried: list[Tried] = []
    heads: list[Linear] = []
    views = [scale(view) for view in val.views]
    for l2, head in path(scale(x), labels, classes, weights):
        row = _tried(l2, head, views, val)
        tried.append(row)
        heads.append(head)
        if row.loss > 1.5 * min(t.loss for t in tried) + 0.1:
            break  # weaker still only overfits more
    best = min(range(len(tried)), key=lambda i: tried[i].loss)
    return Probe(scale.undone(heads[best]), tried[best].l2, tried[best].accuracy, tuple(tried))


def _tried(l2: float, head: Linear, views: Sequence[Tensor], val: Features) -> Tried:
    probs: Any = sum(s * head(v).softmax(1) for s, v in zip(val.shares, views, strict=True))
    right = (probs.argmax(1) == val.labels).double().mean()
    loss = torch.nn.functional.nll_loss(probs.clamp_min(1e-12).log(), val.labels)
    return Tried(l2, float(right), float(loss))


def similarity(train: Features, classes: int, l2: float) -> float:
    """How far the features go from guessing (0) to no error (1), by cross-validation.

    Every image is left out once, with all its views; guessing is naming the commonest class.
    """
    count = len(train.labels)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    right = 0
    for fold in range(_FOLDS):
        held = torch.zeros(count, dtype=torch.bool)
        held[order[fold::_FOLDS]] = True
        held = held.to(train.labels.device)
        x, labels, weights = train.taken(~held).stacked()
        scale = scale_of(x)
        head = logistic(scale(x), labels, classes, l2, weights)
        left = train.taken(held)
        right += int((head(scale(left.views[0])).argmax(1) == left.labels).sum())
    chance = float(train.labels.bincount().max()) / count
    return max(0.0, (right / count - chance) / max(1 - chance, 1e-12))


def advised(train: Features, counts: Sequence[int], l2: float) -> tuple[Any, str]:
    """(mode, why in a sentence), by the images per class and how well the features suit them."""
    each = sum(counts) / len(counts)
    alike = similarity(train, len(counts), l2)
    what = (
        f"{each:,.0f} images per class, and the frozen features go {alike:.0%} "
        "of the way from guessing to no error"
    )
    if each < FEW and alike < _UNLIKE:
        return (
            "gradual",
            f"{what}: they do not suit these images, and too few to change all at once",
        )
    if each < FEW:
        return "probe", f"{what}: too few to change the net's {train.views[0].shape[1]} features"
    if alike >= _ALIKE and each < MANY:
        return "probe", f"{what}: there is little left to gain by changing them"
    return "two-phase", f"{what}: enough to change them, from the probe on"
