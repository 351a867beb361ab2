"""A source of encoded images that lie within something larger: a table of the hub, tar files."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from goodfit.data._base import Labels, digest
from goodfit.data.decode import BrokenImageError, decode
from goodfit.errors import DataError


class Blobs:
    """Images whose bytes `fetch(place)` returns; `places` are those of this source."""

    def __init__(
        self,
        fetch: Callable[[int], bytes],
        labels: Labels,
        classes: tuple[str, ...],
        names: Sequence[str],
        mark: str,
        *,
        places: Labels | None = None,
        channels: int = 3,
    ) -> None:
        self.fetch, self.classes, self.names, self.mark = fetch, classes, names, mark
        self.every: Labels = np.asarray(labels, np.int64)
        self.places: Labels = np.arange(len(self.every)) if places is None else places
        self.labels: Labels = self.every[self.places]
        self.channels = channels

    def __len__(self) -> int:
        return len(self.places)

    def encoded(self, index: int) -> bytes:
        return self.fetch(int(self.places[index]))

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        try:
            image = decode(self.encoded(index), self.channels)
        except BrokenImageError as error:
            raise DataError(
                "an image cannot be read",
                at=self.name(index),
                seen=str(error),
                fix="mend or remove it",
            ) from None
        return torch.from_numpy(image).permute(2, 0, 1), int(self.labels[index])

    def name(self, index: int) -> str:
        return self.names[int(self.places[index])]

    def fingerprint(self) -> str:
        """Of the mark that the whole has, the classes, the labels and the choice of images."""
        parts = [self.mark, *self.classes]
        return digest("\n".join(parts).encode(), self.labels.tobytes(), self.places.tobytes())

    def take(self, places: Sequence[int] | Labels) -> Self:
        return type(self)(
            self.fetch,
            self.every,
            self.classes,
            self.names,
            self.mark,
            places=self.places[np.asarray(places, np.int64)],
            channels=self.channels,
        )

    def seen_as(self, channels: int) -> "Blobs":
        """The same images, decoded to another number of channels."""
        return Blobs(
            self.fetch,
            self.every,
            self.classes,
            self.names,
            self.mark,
            places=self.places,
            channels=channels,
        )
