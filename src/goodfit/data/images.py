"""Single image files, read as they are for validation: for prediction on a handful of files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from goodfit.data._base import Skipped
from goodfit.data._files import NO_FILE, in_threads
from goodfit.data.decode import BrokenImageError, Pixels, render


def read_images(
    paths: Sequence[str | Path],
    size: int | tuple[int, int],
    channels: int = 3,
    *,
    resize: float = 1.0,
) -> tuple[UInt8[Tensor, "n c h w"], list[int], list[Skipped]]:
    """The center of each image at `size`, the places in `paths` they came from, and the broken.

    The same pixels as a Loader gives with the same size, channels and resize.
    """
    wanted = (size, size) if isinstance(size, int) else size

    def one(path: str | Path) -> Pixels | str:
        if os.path.exists(path) and not os.path.isfile(path):  # reading a pipe would wait for ever
            return NO_FILE
        try:
            return render(Path(path).read_bytes(), channels, wanted, share=resize).copy()
        except BrokenImageError as error:
            return str(error)
        except OSError as error:
            return error.strerror or str(error)

    read = in_threads(one, list(paths), chunk=4)
    good = [(place, found) for place, found in enumerate(read) if not isinstance(found, str)]
    images = np.stack([found for _, found in good]) if good else np.empty((0, *wanted, channels))
    skipped = [
        Skipped(str(path), found)
        for path, found in zip(paths, read, strict=True)
        if isinstance(found, str)
    ]
    pixels = torch.from_numpy(images.astype(np.uint8, copy=False)).permute(0, 3, 1, 2)
    return pixels, [place for place, _ in good], skipped
