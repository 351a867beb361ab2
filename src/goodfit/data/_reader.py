"""From places in a source to pixels of one size: the part of loading that runs in threads."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from statistics import median

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from goodfit.data._base import Encoded, Source
from goodfit.data._pixels import with_channels
from goodfit.data.decode import (
    Box,
    BrokenImageError,
    Pixels,
    central,
    decode,
    render,
    resized,
    size_of,
)
from goodfit.errors import DataError

_DETAIL = 1.5  # photographs are kept at this multiple of the wanted size, so that parts stay sharp
_SAMPLE = 64
_PIXELS = 4096  # that are decoded in the time of Python's own steps
_MANY = 1 << 10


@dataclass(frozen=True)
class Asked:
    """Which images, and in which epoch: what random draws are a function of."""

    index: Int[Tensor, " n"]
    epoch: int


Boxes = Callable[[Int[Tensor, "n 2"], Asked], Float[Tensor, "n 4"]]
"""Sizes (height, width) of upright images -> the part (y, x, h, w) to show of each, in pixels."""


class Reader:
    """Reads images of a source as uint8 of one size.

    Random parts (`boxes`) of a source of files are cut from copies kept in memory if an estimate
    says that all of them fit in `hold_bytes`. Which way it is depends on the data alone, never on
    the machine or the moment, since the pixels differ a little.
    """

    def __init__(
        self,
        source: Source,
        size: tuple[int, int],
        channels: int,
        resize: float,
        boxes: Boxes | None,
        hold_bytes: int,
    ) -> None:
        self.source, self.size, self.channels = source, size, channels
        self.resize, self.boxes = resize, boxes
        self.files = source if isinstance(source, Encoded) else None
        self.detail = (round(size[0] * _DETAIL), round(size[1] * _DETAIL))
        self.hold_bytes = hold_bytes
        self.keeps = boxes is not None and self.files is not None and self._estimate() <= hold_bytes
        self._kept: dict[int, tuple[Pixels, tuple[int, int]]] = {}
        self._free, self._lock = hold_bytes, threading.Lock()

    def read(
        self, places: Sequence[int], epoch: int, out: UInt8[np.ndarray, "n c h w"]
    ) -> list[tuple[int, str]]:
        """Write the images at `places` to `out`; the places of the broken ones, with reasons."""
        broken: list[tuple[int, str]] = []
        opened: list[tuple[int, Callable[[Box | None], Pixels]]] = []
        shapes: list[tuple[int, int]] = []
        for row, place in enumerate(places):
            try:
                shape, show = self._open(place)
                if self.boxes is None:
                    out[row] = show(None).transpose(2, 0, 1)
                else:
                    opened.append((row, show))
                    shapes.append(shape)
            except BrokenImageError as error:
                broken.append((place, str(error)))
        for (row, show), box in zip(opened, self._draw(places, opened, shapes, epoch), strict=True):
            try:
                out[row] = show(box).transpose(2, 0, 1)
            except BrokenImageError as error:
                broken.append((places[row], str(error)))
        return broken

    def _draw(
        self,
        places: Sequence[int],
        opened: Sequence[tuple[int, object]],
        shapes: list[tuple[int, int]],
        epoch: int,
    ) -> list[Box]:
        if self.boxes is None or not opened:
            return []
        asked = Asked(torch.tensor([places[row] for row, _ in opened]), epoch)
        return [Box(*box) for box in self.boxes(torch.tensor(shapes), asked).tolist()]

    def _open(self, place: int) -> tuple[tuple[int, int], Callable[[Box | None], Pixels]]:
        """The size of an upright image, and a function that renders a part of it."""
        if self.files is None:
            return self._open_item(place)
        if self.keeps:
            return self._open_kept(place)
        data = self.files.encoded(place)
        shape = size_of(data) if self.boxes is not None else (0, 0)
        return shape, lambda box: render(data, self.channels, self.size, box, share=self.resize)

    def _open_item(self, place: int) -> tuple[tuple[int, int], Callable[[Box | None], Pixels]]:
        try:
            image, _ = self.source[place]
        except DataError as error:
            raise BrokenImageError(str(error.seen.get("seen", error.problem))) from None
        pixels = with_channels(image[None], self.channels)[0].permute(1, 2, 0).contiguous().numpy()
        height, width = pixels.shape[:2]

        def show(box: Box | None) -> Pixels:
            return resized(pixels, self.size, box or central(height, width, self.size, self.resize))

        return (height, width), show

    def _open_kept(self, place: int) -> tuple[tuple[int, int], Callable[[Box | None], Pixels]]:
        found = self._kept.get(place)
        if found is None:
            assert self.files is not None
            data = self.files.encoded(place)
            found = decode(data, self.channels, at_least=self.detail), size_of(data)
            with self._lock:
                if self._free >= found[0].nbytes and place not in self._kept:
                    self._free -= found[0].nbytes
                    self._kept[place] = found
        pixels, (height, width) = found
        by = pixels.shape[0] / height

        def show(box: Box | None) -> Pixels:
            y, x, h, w = box or central(height, width, self.size, self.resize)
            return resized(pixels, self.size, Box(y * by, x * by, h * by, w * by))

        return (height, width), show

    def useful_threads(self) -> int:
        """How many threads decode at the same time, however many there are.

        Of each image some steps are Python's, one thread at a time; threads that wait for their
        turn there slow all others down. So small images want few threads, on any machine.
        """
        sizes = [h * w for h, w in self._some_sizes]
        return ceil(1 + median(sizes) / _PIXELS) if sizes else _MANY

    @cached_property
    def _some_sizes(self) -> list[tuple[int, int]]:
        """Height and width of some files, evenly spread."""
        found = []
        count = len(self.files) if self.files is not None else 0
        for place in range(0, count, max(1, count // _SAMPLE)):
            assert self.files is not None
            try:
                found.append(size_of(self.files.encoded(place)))
            except BrokenImageError:
                continue
        return found

    def _estimate(self) -> float:
        """Bytes of all images at the detail that would be kept, from the sizes of some."""
        assert self.files is not None
        count = len(self.files)
        total, seen = 0.0, 0
        for h, w in self._some_sizes:
            scale = 1
            while scale < 8 and min(h / self.detail[0], w / self.detail[1]) >= 2 * scale:
                scale *= 2
            total, seen = total + h * w * self.channels / scale**2, seen + 1
        return count * total / max(1, seen)
