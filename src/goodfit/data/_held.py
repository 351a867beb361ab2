"""All images of a source as one uint8 tensor, on a device or in a file, filled bit by bit."""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from goodfit.errors import DataError


class Held:
    """images (n, c, h, w) and which of them are there already."""

    def __init__(self, images: UInt8[Tensor, "n c h w"], filled: Bool[np.ndarray, " n"]) -> None:
        self.images, self.filled = images, filled

    @property
    def complete(self) -> bool:
        return bool(self.filled.all())

    @classmethod
    def empty(cls, count: int, shape: tuple[int, int, int], device: torch.device) -> Self:
        images = torch.empty((count, *shape), dtype=torch.uint8, device=device)
        return cls(images, np.zeros(count, np.bool_))

    @classmethod
    def in_file(cls, folder: Path, key: str, count: int, shape: tuple[int, int, int]) -> Self:
        """Memory-mapped in `folder`, under a key that says all that the pixels depend on."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pixels = _mapped(folder / f"{key}.pixels", (count, *shape), np.dtype(np.uint8))
            filled = _mapped(folder / f"{key}.filled", (count,), np.dtype(np.bool_))
        except OSError as error:
            raise DataError(
                "the cache of decoded images cannot be written",
                at=str(folder),
                seen=error.strerror or str(error),
                fix="choose another folder for the cache, or free some space",
            ) from None
        return cls(torch.from_numpy(pixels), filled)

    def put(self, places: Int[Tensor, " m"], images: UInt8[Tensor, "m c h w"]) -> None:
        device = self.images.device
        there = places.to(device, non_blocking=True)
        self.images.index_copy_(0, there, images.to(device, non_blocking=True))
        self.filled[places.numpy()] = True  # after the pixels: a killed run leaves no lie behind

    def get(self, places: Int[Tensor, " m"]) -> UInt8[Tensor, "m c h w"]:
        """The images at some places, which are given where the images lie."""
        return self.images.index_select(0, places)


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    if not path.exists() or path.stat().st_size != size:
        with open(path, "ab") as file:  # sparse: takes no room before it is filled
            file.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
