"""A source whose images are already in memory, as one uint8 tensor."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from goodfit.data._base import Labels, digest


class Images:
    """Images (n, c, h, w) with labels. `keys` name them in reports; by default their number."""

    def __init__(
        self,
        images: UInt8[Tensor, "n c h w"],
        labels: Labels,
        classes: tuple[str, ...],
        keys: Sequence[str] | None = None,
    ) -> None:
        self.images, self.classes = images, classes
        self.labels: Labels = np.asarray(labels, np.int64)
        self.keys = keys if keys is not None else [str(i) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        return self.images[index], int(self.labels[index])

    def name(self, index: int) -> str:
        return self.keys[index]

    def fingerprint(self) -> str:
        """Of all pixels, labels and class names."""
        pixels = self.images.contiguous().numpy()
        shape = str(tuple(pixels.shape)).encode()
        names = "\n".join(self.classes).encode()
        return digest(shape, pixels.data, self.labels.tobytes(), names)

    def take(self, places: Sequence[int] | Labels) -> Self:
        places = np.asarray(places, np.int64)
        return type(self)(
            self.images[torch.from_numpy(places)],
            self.labels[places],
            self.classes,
            [self.keys[i] for i in places.tolist()],
        )


def same_pixels(images: UInt8[Tensor, "n c h w"]) -> list[str | None]:
    """One key per image, equal for equal images, None for images that have no equal."""
    rows = images.contiguous().flatten(1).numpy()
    first: dict[str, int] = {}
    keys: list[str | None] = [None] * len(rows)
    for place, row in enumerate(rows):
        key = digest(row.data)
        twin = first.setdefault(key, place)
        if twin != place:
            keys[place] = keys[twin] = key
    return keys
