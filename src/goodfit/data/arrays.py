"""Images and labels that are already arrays: a .npz file, or arrays in Python.

    x, y                                    divided by us
    x_train, y_train, x_test, y_test, ...   used as it is (also train_images, train_labels, ...)

Images are (n, h, w), (n, h, w, c) or (n, c, h, w): uint8, bool, uint16, or floats in 0..1. Labels
are class numbers or names; an entry `classes` names the numbers. Files are read without pickle,
so they cannot execute code.

At test time the test arrays are used once; they never choose anything.

>>> import numpy as np
>>> from goodfit.data.arrays import Arrays
>>> pixels = (np.arange(20 * 64) % 251).reshape(20, 8, 8)
>>> splits = Arrays(images=pixels, labels=["ant", "bee"] * 10)()
>>> splits.classes, len(splits.train), len(splits.val), len(splits.test)
(('ant', 'bee'), 16, 2, 2)
"""

import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from goodfit.data._array import Images, same_pixels
from goodfit.data._assemble import PART_NAMES, Known, assemble
from goodfit.data._base import Data, Splits
from goodfit.data._pixels import as_images, with_channels
from goodfit.data.splitting import by_name
from goodfit.errors import DataError

_IMAGES = ("x", "images", "image", "data", "x_data")
_LABELS = ("y", "labels", "label", "targets", "target")


class Arrays(Data):
    """path: a .npz file; or in Python `images` and `labels`, and `groups` to keep together."""

    path: Path | None = None
    images: Any = Field(default=None, repr=False)
    labels: Any = Field(default=None, repr=False)
    groups: Any = Field(default=None, repr=False)
    classes: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.path is None) == (self.images is None):
            raise ValueError("write either `path`, or `images` and `labels`")
        if (self.images is None) != (self.labels is None):
            raise ValueError("`images` and `labels` belong together")
        return self

    def __call__(self) -> Splits:
        if self.path is None:
            found, names = {"train": (self.images, self.labels)}, self.classes
            origin = "arrays"
        else:
            found, names = _read(self.path.expanduser())
            names, origin = self.classes or names, str(self.path)
        groups = None if self.groups is None else [str(g) for g in self.groups]
        return array_splits(self, found, names, groups, origin)


def array_splits(
    settings: Data,
    found: dict[str, tuple[Any, Any]],
    names: tuple[str, ...] | None,
    groups: list[str] | None,
    origin: str,
) -> Splits:
    """Splits of arrays: `found` has (images, labels) for each split."""
    images = [as_images(x, f"{origin}: {part}") for part, (x, _) in found.items()]
    shapes = {tuple(x.shape[1:]) for x in images}
    if len(shapes) > 1:
        raise DataError(
            "the splits have images of different shapes",
            at=origin,
            shapes=", ".join(map(str, sorted(shapes))),
            fix="bring them to one shape",
        )
    pixels = torch.cat(images) if len(images) > 1 else images[0]
    labels, classes = by_name([y for _, y in found.values()], names, origin)
    if len(labels) != len(pixels):
        raise DataError(
            "there are not as many labels as images",
            at=origin,
            images=len(pixels),
            labels=len(labels),
            fix="give one label per image",
        )
    keys = [
        f"{part}/{i}" if len(found) > 1 else str(i)
        for part, (x, _) in found.items()
        for i in range(len(x))
    ]
    channels = settings.channels or pixels.shape[1]
    source = Images(with_channels(pixels, channels), labels, classes, keys)
    height, width = pixels.shape[2:]
    known = Known(
        part=[part for part, (x, _) in found.items() for _ in range(len(x))],
        content=same_pixels(pixels),
        group=groups,
        median=(height, width),
        channels=channels,
    )
    return assemble(settings, source, known, origin)


def _read(path: Path) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...] | None]:
    """The arrays of a .npz file by split, and its class names."""
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError("a .npy file, which has one array and no labels")
        with opened as file:
            content = {name.lower(): file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise DataError(
            "this is not a .npz file of plain arrays",
            at=str(path),
            seen=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="write it with np.savez(path, x=images, y=labels)",
        ) from None
    classes = next((content[n] for n in ("classes", "class_names") if n in content), None)
    found = _paired(content)
    if not found:
        raise DataError(
            "images and labels are not found by their names",
            at=str(path),
            arrays=", ".join(content) or "none",
            fix="call them x and y, or x_train, y_train, x_test, y_test",
        )
    return found, None if classes is None else tuple(str(c) for c in classes)


def _paired(content: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    found = {}
    for part_name, part in PART_NAMES.items():
        x = [n for k in _IMAGES for n in (f"{k}_{part_name}", f"{part_name}_{k}") if n in content]
        y = [n for k in _LABELS for n in (f"{k}_{part_name}", f"{part_name}_{k}") if n in content]
        if x and y:
            found[part] = (content[x[0]], content[y[0]])
    if not found:
        x, y = [n for n in _IMAGES if n in content], [n for n in _LABELS if n in content]
        if x and y:
            found["train"] = (content[x[0]], content[y[0]])
    return found
