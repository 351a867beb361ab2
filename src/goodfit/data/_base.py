"""Sources of images, how they are split, and the base of all data sets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8
from pydantic import Field, model_validator
from torch import Tensor

from goodfit.errors import DataError
from goodfit.ingredient import Fraction, Ingredient

Labels = Int[np.ndarray, " n"]
Channels = Literal[1, 2, 3, 4]


class Source(Protocol):
    """A sized, indexable set of images with classes. Labels are places in `classes`."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def labels(self) -> Labels: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]: ...
    def fingerprint(self) -> str:
        """Changes when an image, a label or their order does."""
        ...

    def name(self, index: int) -> str:
        """What reports call this image: a path, or a key."""
        ...

    def take(self, places: Sequence[int] | Labels) -> Self:
        """The same kind of source with these images only, in this order."""
        ...


@runtime_checkable
class Encoded(Protocol):
    """A source of image files: the Loader decodes their bytes itself, in threads."""

    channels: int

    def __len__(self) -> int: ...
    def encoded(self, index: int) -> bytes: ...


@runtime_checkable
class Pixelated(Protocol):
    """A source that has all its images as one uint8 tensor (n, c, h, w)."""

    images: UInt8[Tensor, "n c h w"]


class Skipped(NamedTuple):
    """An image that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Splits:
    """A data set, divided. `test` is None when there is none; `val` may be empty.

    how: one sentence on where the division comes from.
    channels: of all images, 1 to 4.
    median: height and width of the median image; `alike` if all have that size.
    """

    train: Source
    val: Source
    test: Source | None
    how: str
    channels: int
    median: tuple[int, int]
    alike: bool
    origin: str = ""
    divided: bool = False  # by us, not given
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    def parts(self) -> dict[str, Source]:
        """The splits that exist, by name."""
        parts = {"train": self.train}
        if len(self.val):
            parts["val"] = self.val
        if self.test is not None:
            parts["test"] = self.test
        return parts

    def fingerprint(self) -> str:
        """One for the whole, split included."""
        each = [f"{name}={part.fingerprint()}" for name, part in self.parts().items()]
        return digest(",".join(each).encode())

    def summary(self) -> dict[str, Any]:
        """Plain values for data.json: everything needed to find the same images again."""
        parts = self.parts()
        counts = {name: class_counts(part) for name, part in parts.items()}
        summary: dict[str, Any] = {
            "origin": self.origin,
            "fingerprint": self.fingerprint(),
            "fingerprints": {name: part.fingerprint() for name, part in parts.items()},
            "images": {name: len(part) for name, part in parts.items()},
            "classes": list(self.classes),
            "per_class": counts,
            "channels": self.channels,
            "median_height": self.median[0],
            "median_width": self.median[1],
            "all_one_size": self.alike,
            "split": self.how,
            "notes": list(self.notes),
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
        }
        if self.divided:  # train is all the rest
            held_out = {name: part for name, part in parts.items() if name != "train"}
            summary["members"] = {
                name: [part.name(i) for i in range(len(part))] for name, part in held_out.items()
            }
        return summary | self.extra


class Data(Ingredient):
    """Base of all data sets. Called, it opens the data and returns its Splits.

    val, test: share of the images to hold out where the data set brings no such split. Every
        class is divided in the same proportions, exact duplicates stay on one side. val = 0, once
        the choices are made: no look between epochs, no temperature, the test split alone judges.
    seed: of the division.
    channels: 1 gray, 3 RGB, 4 with alpha; None: gray if all images are, else RGB.
    max_broken: share of the images that may be unreadable; one always may.
    """

    noun: ClassVar[str] = "data set"
    val: Fraction = 0.1
    test: Fraction = 0.1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    channels: Channels | None = None
    max_broken: Fraction = 0.01

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        if self.val + self.test > 0.9:
            raise ValueError("val and test together may take 0.9 of the images at most")
        return self

    def __call__(self) -> Splits:
        raise NotImplementedError


def digest(*parts: bytes | memoryview) -> str:
    """A short fingerprint of some bytes."""
    state = blake2b(digest_size=12)
    for part in parts:
        state.update(part)
    return state.hexdigest()


def class_counts(source: Source) -> dict[str, int]:
    """Images per class, by name."""
    counts = np.bincount(np.asarray(source.labels), minlength=len(source.classes))
    return dict(zip(source.classes, counts.tolist(), strict=True))


def check_broken(skipped: Sequence[Skipped], total: int, share: float, at: str) -> None:
    """Raise DataError when more images are unreadable than `share` allows; one always may be."""
    allowed = max(1, int(share * total))
    if len(skipped) <= allowed:
        return
    shown = [f"{s.name}: {s.reason}" for s in skipped[:5]]
    raise DataError(
        f"{len(skipped)} of {total} images cannot be read",
        at=at,
        seen="; ".join(shown) + ("; ..." if len(skipped) > 5 else ""),
        allowed=f"{allowed} (max_broken = {share:g})",
        fix="mend or remove these files, or raise `max_broken`",
    )
