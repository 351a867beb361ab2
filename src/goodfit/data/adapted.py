"""Any map-style torch Dataset with classes as a Source, and sources matched by class names.

An item is (image, label): the image a PIL image, a uint8 or 0..1 float array, (h, w, c), or a
tensor, (c, h, w). Class names are `dataset.classes`, labels `dataset.targets` or `labels`, or
else all items are asked once. Transforms of the dataset stay active: leave random ones and
normalization to the recipe.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from goodfit.data._base import Labels, Source, digest
from goodfit.data._pixels import as_images, with_channels
from goodfit.data.decode import BrokenImageError, from_pillow
from goodfit.errors import DataError


class Adapted:
    """A torch Dataset as a Source. `channels` None: those of the first image."""

    def __init__(
        self,
        dataset: Any,
        *,
        classes: Sequence[str] | None = None,
        labels: Sequence[int] | Labels | None = None,
        places: Sequence[int] | Labels | None = None,
        channels: int | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self.dataset = dataset
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise DataError(
                "this dataset has no length or cannot be indexed",
                at=type(dataset).__name__,
                fix="give a map-style Dataset, with __len__ and __getitem__",
            )
        every = np.asarray(_labels(dataset) if labels is None else labels, np.int64)
        self.places = np.arange(len(dataset)) if places is None else np.asarray(places, np.int64)
        self.classes = _classes(dataset, every) if classes is None else tuple(map(str, classes))
        self.labels: Labels = every[self.places]
        self._every, self._fingerprint = every, fingerprint
        self.channels = channels or (self._image(0).shape[0] if len(self.places) else 3)

    def __len__(self) -> int:
        return len(self.places)

    def _image(self, index: int) -> UInt8[Tensor, "c h w"]:
        item = self.dataset[int(self.places[index])]
        return _pixels(item, f"{type(self.dataset).__name__}[{self.places[index]}]")

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        image = with_channels(self._image(index)[None], self.channels)[0]
        return image, int(self.labels[index])

    def name(self, index: int) -> str:
        return str(self.places[index])

    def fingerprint(self) -> str:
        """Of the labels, the length, and a hundred images spread over the set."""
        if self._fingerprint is None:
            state = [str(self.classes).encode(), self.labels.tobytes(), self.places.tobytes()]
            some = (self[i][0] for i in range(0, len(self), max(1, len(self) // 100)))
            state += [image.contiguous().numpy().tobytes() for image in some]
            self._fingerprint = digest(*state)
        return self._fingerprint

    def take(self, places: Sequence[int] | Labels) -> Self:
        return type(self)(
            self.dataset,
            classes=self.classes,
            labels=self._every,
            places=self.places[np.asarray(places, np.int64)],
            channels=self.channels,
        )


class Matched:
    """A source whose labels are places in another tuple of classes."""

    def __init__(self, source: Source, classes: tuple[str, ...]) -> None:
        self.source, self.classes = source, classes
        unknown = [name for name in source.classes if name not in classes]
        labels = np.asarray(source.labels)
        used = {source.classes[k] for k in np.unique(labels).tolist()}
        if used & set(unknown):
            raise DataError(
                f"the class {sorted(used & set(unknown))[0]!r} is unknown to the model",
                known=", ".join(classes[:10]) + (", ..." if len(classes) > 10 else ""),
                fix="rename or remove the class: classes are matched by name",
            )
        place = np.array([classes.index(n) if n in classes else -1 for n in source.classes])
        self.labels: Labels = place[labels]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        return self.source[index][0], int(self.labels[index])

    def __getattr__(self, name: str) -> Any:  # encoded, images, channels: whatever the source has
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def fingerprint(self) -> str:
        return digest(self.source.fingerprint().encode(), "\n".join(self.classes).encode())

    def take(self, places: Sequence[int] | Labels) -> "Matched":
        return Matched(self.source.take(places), self.classes)


def matched(source: Source, classes: tuple[str, ...]) -> Source:
    """The source with its labels as places in `classes`, matched by name.

    Raises DataError if the source has images of a class that is not among them.
    """
    return source if source.classes == classes else Matched(source, classes)


def _labels(dataset: Any) -> list[int]:
    for name in ("targets", "labels", "_labels"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset):
            return [int(label) for label in found]
    try:
        return [int(_parts(dataset[i])[1]) for i in range(len(dataset))]
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            "the items of this dataset are not (image, class number)",
            at=type(dataset).__name__,
            seen=f"{type(error).__name__}: {error}",
            fix="let __getitem__ return an image and an int",
        ) from None


def _classes(dataset: Any, labels: Labels) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None)
    if names is not None:
        return tuple(str(name) for name in names)
    return tuple(str(k) for k in range(int(labels.max(initial=-1)) + 1))


def _parts(item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        image = next(item[k] for k in ("image", "img", "pixel_values") if k in item)
        return image, next(
            item[k] for k in ("label", "labels", "target", "fine_label") if k in item
        )
    return item[0], item[1]


def _pixels(item: Any, at: str) -> UInt8[Tensor, "c h w"]:
    image = _parts(item)[0]
    if isinstance(image, Image.Image):
        try:
            pixels = from_pillow(image, {"L": 1, "1": 1, "LA": 2, "RGBA": 4}.get(image.mode, 3))
        except BrokenImageError as error:
            raise DataError(
                "an image cannot be read", at=at, seen=str(error), fix="mend or remove it"
            ) from None
        return torch.from_numpy(pixels).permute(2, 0, 1)
    if isinstance(image, Tensor) and image.ndim == 2:
        image = image[None]
    elif not isinstance(image, Tensor):
        image = np.asarray(image)
    return as_images(image[None], at)[0]
