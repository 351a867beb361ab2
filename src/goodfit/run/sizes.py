"""Progressive resizing: small images first, since they are cheap, large ones at the end.

Source: Howard 2018 (DAWNBench); Tan & Le 2021, arXiv:2104.00298.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from goodfit.batch import Batch
from goodfit.data.loader import Loader
from goodfit.memory import release_freed_memory


class Sized:
    """A loader's batches, resized by how much of the run is done, in the model's memory layout."""

    def __init__(
        self,
        loader: Loader,
        sizes: tuple[tuple[float, int], ...],
        done: int,
        total: int,
        last: bool,
    ) -> None:
        self.loader, self.sizes, self.done, self.total = loader, sizes, done, total
        self.side: int | None = None
        self.layout = torch.channels_last if last else torch.contiguous_format

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader:
            side = self._side()
            if side != self.side:  # memory of the last size fits nothing of this one
                release_freed_memory()
                self.side = side
            self.done += 1
            images = batch.images if side is None else resized(batch.images, side)
            yield batch.with_images(images.contiguous(memory_format=self.layout))

    def _side(self) -> int | None:
        reached = [side for start, side in self.sizes if start <= self.done / self.total]
        return reached[-1] if reached else None


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images with their shorter side at `side`, antialiased, of the same type."""
    height, width = images.shape[-2:]
    factor = side / min(height, width)
    size = (round(height * factor), round(width * factor))
    if size == (height, width):
        return images
    if images.dtype == torch.uint8 and images.device.type != "cpu":
        return (
            F.interpolate(images.float(), size, mode="bilinear", antialias=True)
            .round()
            .to(torch.uint8)
        )
    return F.interpolate(images, size, mode="bilinear", antialias=True)
