"""Data decoded once for all trials of a process, where all images have one size and fit.

A trial is short; decoding the same files again would be most of some. The pixels, labels, names
and fingerprint are those of the source, so a trial is the same with it or without.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from goodfit.data import Loader, Pixelated, Source, Splits

Labels = Int[np.ndarray, " n"]
_MOST = 1 << 30  # bytes of all images together


class Held:
    """A source with its images in memory."""

    def __init__(self, source: Source, images: UInt8[Tensor, "n c h w"]) -> None:
        self.source, self.images = source, images
        self.classes, self.labels = source.classes, source.labels

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        return self.images[index], int(self.labels[index])

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    def name(self, index: int) -> str:
        return self.source.name(index)

    def take(self, places: Sequence[int] | Labels) -> Self:
        return type(self)(
            self.source.take(places), self.images[torch.as_tensor(np.asarray(places))]
        )


def held(splits: Splits) -> Splits:
    """The splits with training and validation images decoded, if that is possible."""
    count = len(splits.train) + len(splits.val)
    size = count * splits.channels * splits.median[0] * splits.median[1]
    if not splits.alike or size > _MOST or isinstance(splits.train, Pixelated):
        return splits
    train, val = (_decoded(part, splits) for part in (splits.train, splits.val))
    return splits if train is None or val is None else replace(splits, train=train, val=val)


def _decoded(source: Source, splits: Splits) -> Source | None:
    loader = Loader(source, 1024, size=splits.median, channels=splits.channels)
    images = torch.cat([batch.images for batch in loader])
    return None if loader.skipped else Held(source, images)
