"""Batches of a source on the device: decoded once where they fit, by threads where they do not.

    order(epoch) = a permutation of the images, a function of (seed, epoch) alone
    step b of rank r takes the r-th part of order[b * batch_size : (b + 1) * batch_size]

So a batch has the same images in the same order whatever the number of workers or processes, and
wherever one resumes: `loader.at(epoch, batch)`. `batch_size` counts the images of all processes.

Images of one size are decoded when they are first needed and stay on the device as uint8, if all
of them fit in `hold_bytes`; from then on a batch is one gather. With `cache` they are kept in a
memory-mapped file instead, which the next run finds again. What does not fit is decoded by
threads, ahead of the training step.

`boxes` asks for random parts of photographs: it is called with the sizes of some images and their
(index, epoch), and only that part of each file is decoded, at the scale that is needed. Without it
the center is taken, as for validation, test and prediction: `resize` is the share of the short
side that it shows.

An image that cannot be decoded is left out of its batch, in every epoch alike, and is listed in
`skipped`; more than `max_broken` of them stop the run.

At test time, shuffle=False: every image comes exactly once, without padding or repetition.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from goodfit.batch import Batch
from goodfit.data._base import Pixelated, Skipped, Source, check_broken
from goodfit.data._files import threads
from goodfit.data._held import Held
from goodfit.data._pixels import with_channels
from goodfit.data._reader import Boxes, Reader
from goodfit.errors import DataError, RecipeError
from goodfit.rand import permutation

_HOLD_BYTES = 1 << 30  # on the CPU; on other devices a share of their free memory
_HOLD_SHARE = 0.4
_AHEAD = 2  # batches that are decoded while the current one is used


class _Job(NamedTuple):
    """A batch on its way: the images to decode, in chunks, and where they arrive."""

    places: Int[Tensor, " n"]
    there: Int[Tensor, " n"]  # the same on the device
    missing: Int[Tensor, " m"]
    arriving: UInt8[np.ndarray, "m c h w"]
    chunks: list[Future[list[tuple[int, str]]]]


_Images = tuple[Int[Tensor, " m"], Int[Tensor, " m"], UInt8[Tensor, "m c h w"]]


class Loader:
    """One epoch of batches each time it is iterated.

    size: height and width of the batches, or one number for both; the images' own if None.
    workers: threads that decode; None for one per core, or fewer if the images are small; 0 for
        the calling thread.
    drop_last: leave out the last, smaller batch; by default only when shuffling.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        size: int | tuple[int, int] | None = None,
        channels: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        workers: int | None = None,
        drop_last: bool | None = None,
        rank: int = 0,
        world: int = 1,
        boxes: Boxes | None = None,
        resize: float = 1.0,
        hold_bytes: int | None = None,
        cache: Path | None = None,
        max_broken: float = 0.01,
    ) -> None:
        self.source, self.batch_size, self.device = source, batch_size, torch.device(device)
        self.shuffle, self.seed, self.max_broken = shuffle, seed, max_broken
        self.boxes = boxes
        self.drop_last = shuffle if drop_last is None else drop_last
        self.rank, self.world = rank, world
        self.epoch, self.batch = 0, 0
        self.size = (size, size) if isinstance(size, int) else size or _own_size(source)
        self.channels = channels or _own_channels(source)
        self.workers = threads() if workers is None else workers
        self._check()
        if hold_bytes is None:
            hold_bytes = _room(self.device)
        self._reader = Reader(source, self.size, self.channels, resize, boxes, hold_bytes)
        if workers is None:
            self.workers = min(self.workers, self._reader.useful_threads())
        self._held = None if boxes is not None else self._hold(hold_bytes, cache, resize)
        self._labels = torch.from_numpy(np.asarray(source.labels, np.int64)).to(self.device)
        self._broken: dict[int, str] = {}
        self._pool: ThreadPoolExecutor | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Images that could not be decoded, so far."""
        return tuple(Skipped(self.source.name(i), why) for i, why in sorted(self._broken.items()))

    def __len__(self) -> int:
        """Batches of one epoch."""
        whole, rest = divmod(len(self.source), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def at(self, epoch: int, batch: int = 0) -> Self:
        """Place it so that the next iteration starts with this batch of this epoch."""
        self.epoch, self.batch = epoch + batch // len(self), batch % len(self)
        return self

    def order(self, epoch: int) -> Int[Tensor, " n"]:
        """Places of all images in the order of this epoch."""
        count = len(self.source)
        return (
            permutation(count, self.seed, "order", epoch) if self.shuffle else torch.arange(count)
        )

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch. When it is through, the next one is up."""
        epoch, order = self.epoch, self.order(self.epoch)
        there = self._sent(order)  # once for all batches: each one's part is there when asked for
        left = range(self.batch, len(self))
        mine = [(self._mine(order, batch), self._mine(there, batch)) for batch in left]
        for places, there, images in self._images(mine, epoch):
            targets = torch.zeros(len(there), len(self.classes), device=self.device)
            targets.scatter_(1, self._labels.index_select(0, there)[:, None], 1.0)
            yield Batch(images, targets, places, epoch)
        self.epoch, self.batch = epoch + 1, 0

    def close(self) -> None:
        """End the threads. Iterating again starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _mine(self, order: Int[Tensor, " n"], batch: int) -> Int[Tensor, " m"]:
        """This rank's places of one batch."""
        both = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        return both[len(both) * self.rank // self.world : len(both) * (self.rank + 1) // self.world]

    def _sent(self, tensor: Tensor) -> Tensor:
        """A tensor on the device. A GPU copies from pinned memory alone while others work on."""
        if self.device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _images(self, mine: list[tuple[Tensor, Tensor]], epoch: int) -> Iterator[_Images]:
        """Each batch's places and images, the next ones being decoded meanwhile."""
        jobs: deque[_Job] = deque()
        try:
            for places, there in mine:
                jobs.append(self._start(places, there, epoch))
                if len(jobs) > _AHEAD or self.workers == 0:
                    yield self._finish(jobs.popleft(), epoch)
            while jobs:
                yield self._finish(jobs.popleft(), epoch)
        finally:
            for job in jobs:
                for chunk in job.chunks:
                    chunk.cancel()
            if self._held is not None and self._held.complete:
                self.close()

    def _start(self, places: Int[Tensor, " n"], there: Int[Tensor, " n"], epoch: int) -> _Job:
        missing = places
        if self._held is not None:
            missing = places[torch.from_numpy(~self._held.filled[places.numpy()])]
        out = self._buffer(len(missing))
        if not len(missing) or self.workers == 0:
            return _Job(places, there, missing, out, [])
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, "goodfit-decode")
        step = max(1, min(16, -(-len(missing) // (2 * self.workers))))
        chunks = [
            self._pool.submit(
                self._reader.read, missing[i : i + step].tolist(), epoch, out[i : i + step]
            )
            for i in range(0, len(missing), step)
        ]
        return _Job(places, there, missing, out, chunks)

    def _buffer(self, count: int) -> UInt8[np.ndarray, "m c h w"]:
        """Memory for decoded images; pinned, and so reused, where the device copies from it."""
        shape = (count, self.channels, *self.size)
        pin = self.device.type == "cuda" and count > 0
        buffer: np.ndarray = torch.empty(shape, dtype=torch.uint8, pin_memory=pin).numpy()
        return buffer

    def _finish(self, job: _Job, epoch: int) -> _Images:
        """Wait for a batch; the places and images of all that could be decoded."""
        places, there, missing, out, chunks = job
        if len(missing) and not chunks:
            found = self._reader.read(missing.tolist(), epoch, out)
        else:
            found = [broken for chunk in chunks for broken in chunk.result()]
        arrived = torch.from_numpy(out)
        if found:
            self._broken |= dict(found)
            check_broken(self.skipped, len(self.source), self.max_broken, "while decoding")
            lost = torch.tensor([place for place, _ in found])
            arrived = arrived[~torch.isin(missing, lost)]
            missing, places = (p[~torch.isin(p, lost)] for p in (missing, places))
            there = self._sent(places)
        if self._held is None:
            return places, there, self._sent(arrived)
        if len(missing):
            self._held.put(missing, arrived)
        held = self._held.get(places if self._held.images.device.type == "cpu" else there)
        return places, there, self._sent(held)

    def _hold(self, most: int, cache: Path | None, resize: float) -> Held | None:
        """Where decoded images stay, if they do."""
        count, shape = len(self.source), (self.channels, *self.size)
        if cache is not None:
            key = f"{self.source.fingerprint()}-{'x'.join(map(str, shape))}-{resize:g}"
            return Held.in_file(cache, key, count, shape)
        if count * int(np.prod(shape)) > most:
            return None
        if isinstance(self.source, Pixelated) and self.source.images.shape[2:] == self.size:
            images = with_channels(self.source.images, self.channels).contiguous()
            return Held(images.to(self.device), np.ones(count, np.bool_))
        return Held.empty(count, shape, self.device)

    def _check(self) -> None:
        if self.batch_size < 1 or not 0 <= self.rank < self.world:
            raise RecipeError(
                "a loader cannot work like this",
                batch_size=self.batch_size,
                rank=f"{self.rank} of {self.world}",
                fix="give a batch_size of 1 or more, and a rank from 0 to world - 1",
            )
        if self.shuffle and self.batch_size % self.world:
            raise RecipeError(
                "the batch cannot be divided evenly among the processes",
                batch_size=self.batch_size,
                processes=self.world,
                fix="choose a batch_size that is a multiple of the number of processes",
            )
        if self.drop_last and len(self.source) < self.batch_size:
            raise DataError(
                "there are fewer images than one batch needs",
                images=len(self.source),
                batch_size=self.batch_size,
                fix=f"set batch_size to {max(1, len(self.source))} or less",
            )


def _own_size(source: Source) -> tuple[int, int]:
    """The size of the images, if the source holds them all in one size."""
    if isinstance(source, Pixelated):
        height, width = source.images.shape[2:]
        return height, width
    if not len(source):
        return 1, 1
    height, width = source[0][0].shape[1:]
    return height, width


def _own_channels(source: Source) -> int:
    if isinstance(source, Pixelated):
        return source.images.shape[1]
    channels = getattr(source, "channels", None)
    return int(channels) if channels else source[0][0].shape[0]


def _room(device: torch.device) -> int:
    """Bytes that decoded images may take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _HOLD_SHARE)
    return _HOLD_BYTES
