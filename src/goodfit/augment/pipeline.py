"""A list of augmentations as one change of a batch, doing together what can be done together.

Neighboring geometry becomes one resampling (or one copy, if nothing is scaled or turned),
neighboring color one matrix. What each change draws is what it would draw alone, so removing one
leaves the others as they were. Results agree with the changes applied one by one, up to the blur of
the resamplings saved, to pixels that one step pushes out of the frame and the next brings back
(the pipeline keeps them) and to values that one step clamps and the next brings back.

>>> import torch
>>> from goodfit.augment.cutout import Cutout
>>> from goodfit.augment.flip import Flip
>>> batch = Batch(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.eye(2), torch.arange(2))
>>> Pipeline([Flip(), Cutout()], seed=1)(batch).images.shape
torch.Size([2, 3, 8, 8])
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from goodfit.augment import Augmentation
from goodfit.augment._box import Box, Lookup, lookup
from goodfit.augment._color import Colors, Mean, Photometric, mapped, recolored, then
from goodfit.augment._geometry import Geometric, Size, composed, put
from goodfit.augment._warp import Border, Warp
from goodfit.batch import Batch
from goodfit.rand import Rng, rngs

Change = Callable[[Batch, Rng], Batch]


class Pipeline:
    """Changes in their order, each with random numbers of its own.

    A change draws by its `name`; the second one of the same name is `name#2`, and so on.
    Callables without a name go by their class's or function's. Calling it with a batch gives the
    changed batch and leaves the input alone.
    """

    def __init__(
        self,
        changes: Sequence[Change],
        seed: int = 0,
        names: Sequence[str] | None = None,
        *,
        compile: bool = False,  # noqa: A002
    ) -> None:
        """names: those by which the changes draw, where they are to be others than their own.

        compile: put what happens to the pixels through torch.compile, once for every shape of
        batches. The draws are the same; floats may differ in their last bits.
        """
        self.changes, self.seed = tuple(changes), seed
        self.names = names_of(self.changes) if names is None else list(names)
        self.compile = compile
        self._applied = torch.compile(applied, dynamic=False) if compile else applied

    def __call__(self, batch: Batch) -> Batch:
        ready, images = _Ready(self.compile), batch.images
        for change, rng in zip(self.changes, rngs(self.seed, self.names, batch), strict=True):
            if isinstance(change, Augmentation) and change.prob == 0:
                continue
            if not isinstance(change, Augmentation) or not _drawable(change):
                batch = change(self._done(batch, ready), rng)
                ready, images = _Ready(self.compile), batch.images
                continue
            z = drawn(change, batch.with_images(images), rng)
            if isinstance(change, Geometric):
                size = (images.shape[-2], images.shape[-1])
                place = change.placed(z, size)
                ready.move(place, change.outside(), size)
                images = images.new_empty(1).expand(*images.shape[:2], *place.size)  # no pixels
            else:
                ready.add(change, z)
        return self._done(batch, ready)

    def _done(self, batch: Batch, ready: "_Ready") -> Batch:
        """The batch with what is ready applied to it; the compiler must not know the epoch."""
        if not ready.steps:
            return batch
        steps = ready.final()
        return self._applied(batch._replace(epoch=0), steps)._replace(epoch=batch.epoch)


def names_of(changes: Sequence[Change]) -> list[str]:
    """The names by which changes draw: their own, numbered from the second one on."""
    counts: dict[str, int] = {}
    result = []
    for change in changes:
        name = str(
            getattr(change, "name", "") or getattr(change, "__name__", type(change).__name__)
        )
        counts[name] = counts.get(name, 0) + 1
        result.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return result


def drawn(change: Augmentation, batch: Batch, rng: Rng) -> Any:
    """z as `change` draws it when called, `prob` included."""
    if change.prob == 1:
        return change.draw(batch, rng)
    applied = rng.happens(change.prob)
    return change.only(batch, change.draw(batch, rng), applied)


def _drawable(change: Augmentation) -> bool:
    """Whether a call is nothing but `draw`, which needs no pixels, and then `given`."""
    cls = type(change)
    bare = cls.__call__ is Augmentation.__call__ and cls.draws_by_shape
    return bare and (change.prob == 1 or cls.only is not Augmentation.only)


class Placed(NamedTuple):
    """Where all pixels come from, and what lies outside; in images of this size."""

    place: Box | Warp
    border: Border | None
    size: Size


class Drawn(NamedTuple):
    """Any other change, with its draw."""

    change: Augmentation
    z: Any


Step = Drawn | Placed | Lookup


class _Ready:
    """Changes that are drawn and not applied, neighboring geometry as one."""

    def __init__(self, compile: bool) -> None:  # noqa: A002
        self.compile = compile
        self.steps: list[Step] = []

    def add(self, change: Augmentation, z: Any) -> None:
        self.steps.append(Drawn(change, z))

    def move(self, place: Box | Warp, border: Border | None, size: Size) -> None:
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Placed) and (None in (last.border, border) or last.border == border):
            one = composed(last.place, place, last.size)
            if one is not None:
                self.steps[-1] = Placed(one, last.border or border, last.size)
                return
        self.steps.append(Placed(place, border, size))

    def final(self) -> list[Step]:
        """The steps, for a compiler with small tables in place of boxes that scale nothing."""
        return [_as_lookup(s) if self.compile and isinstance(s, Placed) else s for s in self.steps]


def _as_lookup(step: Placed) -> Step:
    place = step.place
    if isinstance(place, Warp) or place.kind == "scale":
        return step
    return lookup(place, step.size, step.border or "edge")


def applied(batch: Batch, steps: Sequence[Step]) -> Batch:
    """The batch after all steps, neighboring colors as one map."""
    colors: list[tuple[Photometric, Any]] = []
    for step in steps:
        if isinstance(step, Drawn) and isinstance(step.change, Photometric):
            colors.append((step.change, step.z))
            continue
        batch, colors = _recolored(batch, colors), []
        if isinstance(step, Placed):
            batch = batch.with_images(put(batch.images, step.place, step.border))
        elif isinstance(step, Lookup):
            batch = batch.with_images(step(batch.images))
        else:
            batch = step.change.given(batch, step.z)
    return _recolored(batch, colors)


def _recolored(batch: Batch, chain: Sequence[tuple[Photometric, Any]]) -> Batch:
    if not chain:
        return batch

    def colors_of(mean: Mean) -> Colors:
        """All maps of the chain as one, for images whose mean color is `mean`."""
        total: Colors | None = None
        for change, z in chain:
            colors = change.colors(z, mean)
            total = colors if total is None else then(total, colors)
            mean = mapped(colors, mean)
        assert total is not None
        return total

    by_channel = all(change.by_channel for change, _ in chain)
    needs_mean = any(change.needs_mean for change, _ in chain)
    return batch.with_images(recolored(batch.images, colors_of, needs_mean, by_channel))
