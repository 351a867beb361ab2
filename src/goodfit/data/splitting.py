"""Divide images into train, val and test: stratified, seeded, and nothing on two sides.

Images that belong together (the same group, or the same bytes) form a unit, and a unit is never
divided. Units of several images are dealt out first, the largest first, each to the split that
lacks most; then the single images fill every class to its share exactly:

    wanted(class, split) = round(share * images of the class), and 1 at least if it has 4 or more

A class keeps at least one image in train. The division is a function of the labels, the units,
the shares and the seed, not of the machine or the order of the disk.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from goodfit.data._base import Labels
from goodfit.errors import DataError
from goodfit.rand import permutation

_FEW = 4  # classes with fewer images stay in train


class Division(NamedTuple):
    """Places in the data set, each in rising order."""

    train: Labels
    val: Labels
    test: Labels


def divide(
    labels: Labels,
    *,
    val: float,
    test: float,
    seed: int = 0,
    units: Int[np.ndarray, " n"] | None = None,
) -> Division:
    """Places of train, val and test. Images with the same number in `units` stay together."""
    ledger = _Ledger(np.asarray(labels, np.int64), {1: val, 2: test})
    order = permutation(len(labels), seed, "split", 0).numpy()
    alone = np.ones(len(labels), np.bool_)
    if units is not None:
        alone = _deal_units(ledger, units, order)
    for label in range(len(ledger.lacks)):
        mine = order[(ledger.labels[order] == label) & alone[order]]
        free = int(ledger.spare[label]) - 1  # a large unit may have left train this one image
        for which in (1, 2):
            count = max(0, min(int(ledger.lacks[label, which]), len(mine), free))
            ledger.side[mine[:count]] = which
            mine, free = mine[count:], free - count
    return Division(*(np.flatnonzero(ledger.side == which) for which in (0, 1, 2)))


class _Ledger:
    """Who has gone where, and what each split still lacks of each class."""

    def __init__(self, labels: Labels, shares: dict[int, float]) -> None:
        self.labels, self.side = labels, np.zeros(len(labels), np.int8)
        counts = np.bincount(labels)
        self.target = np.zeros((len(counts), 3), np.int64)
        for which, share in shares.items():
            if share > 0:
                held = np.maximum(np.floor(share * counts + 0.5).astype(np.int64), 1)
                self.target[:, which] = np.where(counts >= _FEW, held, 0)
        empty = (counts >= _FEW) & (self.target.sum(1) >= counts)  # rounded up on both sides
        self.target[empty, 1 + self.target[empty, 1:].argmax(1)] -= 1
        self.target[:, 0] = counts - self.target[:, 1] - self.target[:, 2]
        self.lacks, self.spare = self.target.copy(), counts  # spare: not held out

    def put(self, places: list[int], which: int) -> None:
        counts = np.bincount(self.labels[places], minlength=len(self.spare))
        self.side[places] = which
        self.lacks[:, which] -= counts
        self.spare = self.spare - (counts if which else 0)

    def may_go(self, places: list[int]) -> bool:
        """Whether train keeps one image of each class without these."""
        counts = np.bincount(self.labels[places], minlength=len(self.spare))
        return bool((self.spare > counts)[counts > 0].all())

    def neediest(self, places: list[int]) -> int:
        """The split that lacks the largest part of its target in the classes of these images."""
        classes, counts = np.unique(self.labels[places], return_counts=True)
        lacks = self.lacks[classes] - counts[:, None] / 2
        part = lacks / np.maximum(self.target[classes], 1e-9)
        return int(part.min(axis=0).argmax()) if self.may_go(places) else 0


def _deal_units(
    ledger: _Ledger, units: Int[np.ndarray, " n"], order: Labels
) -> Bool[np.ndarray, " n"]:
    """Assign the units of more than one image; the mask of the images that are still free."""
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    alone = np.asarray(sizes[unit] == 1, np.bool_)
    members: dict[int, list[int]] = {}
    for place in order[~alone[order]].tolist():
        members.setdefault(int(unit[place]), []).append(place)
    dealt = sorted(members.values(), key=len, reverse=True)  # stable: ties in random order
    for places in dealt:
        ledger.put(places, ledger.neediest(places))
    for which in (1, 2):  # large units alone can leave a split without any
        if ledger.target[:, which].any() and not alone.any() and which not in ledger.side:
            free = [p for p in reversed(dealt) if ledger.side[p[0]] == 0 and ledger.may_go(p)]
            if free:
                ledger.put(free[0], which)
    return alone


def together(*keys: Sequence[object] | np.ndarray) -> Int[np.ndarray, " n"]:
    """One number per image, equal for images that share any of their `keys`, also through others.

    A key that is None or empty ties an image to nobody.
    """
    size = len(keys[0])
    parent = list(range(size))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for key in keys:
        first: dict[object, int] = {}
        for place, value in enumerate(key):
            if value is None or value == "":
                continue
            a, b = root(first.setdefault(value, place)), root(place)
            parent[max(a, b)] = min(a, b)
    return np.array([root(place) for place in range(size)], np.int64)


def by_name(
    labels: Sequence[Any], names: tuple[str, ...] | None, at: str
) -> tuple[Labels, tuple[str, ...]]:
    """Labels of several splits, one after the other, as places in the returned class names.

    Labels are names, or numbers, which `names` may name. One-hot rows and columns count as numbers.
    """
    arrays = [_plain(np.asarray(y), at) for y in labels]
    if names is not None and all(a.dtype.kind in "iu" for a in arrays):
        numbers = np.concatenate(arrays)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(names)):
            raise DataError(
                "a label has no class name",
                at=at,
                labels=f"{numbers.min()} to {numbers.max()}",
                classes=f"{len(names)}",
                fix="give one class name for each number, from 0",
            )
        return numbers.astype(np.int64), names
    texts = np.concatenate([a.astype(str) for a in arrays])
    found = in_order(set(texts.tolist())) if names is None else names
    place = {name: k for k, name in enumerate(found)}
    unknown = sorted(set(texts.tolist()) - place.keys())
    if unknown:
        raise DataError(
            f"the label {unknown[0]!r} is not among the classes",
            at=at,
            classes=", ".join(found[:10]),
            fix="correct the label or the class names",
        )
    return np.array([place[t] for t in texts.tolist()], np.int64), found


def _plain(labels: np.ndarray, at: str) -> np.ndarray:
    """Labels as a row of integers or names."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2:
        labels = labels.argmax(axis=1)
    if labels.dtype.kind == "f" and np.equal(labels, np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iubUS":
        raise DataError(
            "the labels cannot be used",
            at=at,
            seen=f"{labels.dtype}, shape {tuple(labels.shape)}",
            fix="give one class number or name per image",
        )
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels


def in_order(names: set[str]) -> tuple[str, ...]:
    """Class names sorted: as numbers if all are numbers, else as text."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
