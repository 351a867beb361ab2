"""From one source of all images to Splits: check the classes, respect given splits, divide."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from goodfit.data._base import Data, Labels, Skipped, Source, Splits, class_counts
from goodfit.data.splitting import divide, together
from goodfit.errors import DataError

S = TypeVar("S", bound=Source)

PART_NAMES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Known:
    """What is known about every image of a source besides its pixels, in the source's order.

    part: train, val or test where the data says so, else "train" or "".
    content: equal for exact duplicates, None for images without any.
    group: images of equal group stay on one side.
    """

    part: Sequence[str]
    content: Sequence[str | None]
    group: Sequence[str] | None = None
    skipped: Sequence[Skipped] = ()
    notes: Sequence[str] = ()
    median: tuple[int, int] = (1, 1)
    alike: bool = True
    channels: int = 3
    extra: dict[str, object] = field(default_factory=dict)


def assemble(settings: Data, source: S, known: Known, origin: str) -> Splits:
    """The Splits of a source. Raises DataError where no classifier could be trained on it."""
    part = np.array([PART_NAMES.get(p.lower(), p) or "train" for p in known.part], dtype=object)
    notes = list(known.notes)
    places = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    _check_classes(source, places["train"], origin, divided=settings.val + settings.test > 0)
    twins = _twins(places, known.content)
    for name, dropped in twins.items():
        if len(dropped):
            places[name] = np.setdiff1d(places[name], dropped)
            notes.append(f"{len(dropped)} images left out of {name}: held-out images, twice")
    divided = not len(places["val"])
    how = "as the data gives it"
    if divided:
        how = _divide(settings, source, known, places, notes)
    parts = {name: source.take(where) for name, where in places.items()}
    _note_conflicts(source.labels, known.content, notes)
    _note_rare(parts["train"], parts["val"], settings, notes)
    return Splits(
        train=parts["train"],
        val=parts["val"],
        test=parts["test"] if len(places["test"]) else None,
        how=how,
        channels=known.channels,
        median=known.median,
        alike=known.alike,
        origin=origin,
        divided=divided,
        skipped=tuple(known.skipped),
        notes=tuple(notes),
        extra=dict(known.extra),
    )


def _check_classes(source: Source, train: Labels, origin: str, *, divided: bool) -> None:
    labels = np.asarray(source.labels)
    if not len(labels):
        raise DataError("there are no images", at=origin, fix="check the path")
    if not len(train):
        raise DataError(
            "there are no images to train on",
            at=origin,
            fix="put images into the training split",
        )
    counts = np.bincount(labels[train], minlength=len(source.classes))
    missing = [source.classes[k] for k in np.flatnonzero(counts == 0)]
    if missing:
        raise DataError(
            f"{_some(missing)} in the held-out images, but not among those to train on",
            at=origin,
            classes=", ".join(source.classes[:10]),
            fix="add training images of it, or correct the name: classes are matched by name",
        )
    if divided:  # else it may be there to be tested only
        check_two_classes(source, origin)


def check_two_classes(source: Source, origin: str) -> None:
    """Raise DataError where there is nothing to tell apart."""
    if len(source.classes) < 2:
        raise DataError(
            "there is only one class",
            at=origin,
            seen=f"{len(source)} images of {source.classes[0]!r}",
            fix="add images of another class: a classifier needs two",
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:3])
    many = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"class {shown} is" if len(names) == 1 else f"classes {shown}{many} are"


def _twins(places: dict[str, Labels], content: Sequence[str | None]) -> dict[str, Labels]:
    """Images to leave out: those in train that are also held out, those in val also in test."""
    keys = {name: {content[i] for i in where} - {None} for name, where in places.items()}
    held = {"train": keys["val"] | keys["test"], "val": keys["test"], "test": set()}
    return {
        name: np.array([i for i in where if content[i] in held[name]], np.int64)
        for name, where in places.items()
    }


def _divide(
    settings: Data, source: Source, known: Known, places: dict[str, Labels], notes: list[str]
) -> str:
    """Hold images out of train, in place; the sentence on how."""
    given_test = len(places["test"]) > 0
    shares = {"val": settings.val, "test": 0.0 if given_test else settings.test}
    train = places["train"]
    keys: list[Sequence[object]] = [[known.content[i] for i in train]]
    if known.group is not None:
        keys.append([known.group[i] for i in train])
    labels = np.asarray(source.labels)[train]
    division = divide(labels, **shares, seed=settings.seed, units=together(*keys))
    places["train"], places["val"] = train[division.train], train[division.val]
    if not given_test:
        places["test"] = train[division.test]
    for name, share in shares.items():
        if share and not len(places[name]):
            notes.append(f"{name} is empty: too few images, or too few groups, to hold any out")
    wanted = " and ".join(f"{share:g} for {name}" for name, share in shares.items() if share)
    grouped = ", whole groups" if known.group is not None else ""
    if not wanted:
        return "nothing held out"
    ways = f"class by class{grouped}, duplicates together, seed {settings.seed}"
    return f"{wanted} held out of train, {ways}"


def _note_conflicts(labels: Labels, content: Sequence[str | None], notes: list[str]) -> None:
    classes: dict[str, set[int]] = {}
    for label, key in zip(labels.tolist(), content, strict=True):
        if key is not None:
            classes.setdefault(key, set()).add(label)
    conflicts = sum(len(found) > 1 for found in classes.values())
    if classes:
        notes.append(f"{len(classes)} images appear more than once")
    if conflicts:
        notes.append(f"{conflicts} of these under different classes")


def _note_rare(train: Source, val: Source, settings: Data, notes: list[str]) -> None:
    counts = class_counts(train)
    rare = [name for name, count in counts.items() if count < 5]
    if rare:
        shown = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
        notes.append(f"fewer than 5 training images of {len(rare)} classes: {shown}")
    if settings.val and len(val):
        unseen = [name for name, count in class_counts(val).items() if not count]
        if unseen:
            notes.append(f"no validation images of {len(unseen)} classes: {', '.join(unseen[:5])}")
