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
from typing import Any

from goodfit.augment import Augmentation
from goodfit.augment._box import Box
from goodfit.augment._color import Colors, Mean, Photometric, mapped, recolored, then
from goodfit.augment._geometry import Geometric, composed, put
from goodfit.augment._warp import Border, Warp
from goodfit.batch import Batch, Images
from goodfit.rand import Rng, rngs

Change = Callable[[Batch, Rng], Batch]


class Pipeline:
    """Changes in their order, each with random numbers of its own.

    A change draws by its `name`; the second one of the same name is `name#2`, and so on.
    Callables without a name go by their class's or function's. Calling it with a batch gives the
    changed batch and leaves the input alone.
    """

    def __init__(
        self, changes: Sequence[Change], seed: int = 0, names: Sequence[str] | None = None
    ) -> None:
        """names: those by which the changes draw, where they are to be others than their own."""
        self.changes, self.seed = tuple(changes), seed
        self.names = names_of(self.changes) if names is None else list(names)

    def __call__(self, batch: Batch) -> Batch:
        images = Pending(batch.images)
        draws = rngs(self.seed, self.names, batch)
        for change, rng in zip(self.changes, draws, strict=True):
            if isinstance(change, Augmentation) and change.prob == 0:
                continue
            if isinstance(change, Geometric) and _own_call(change):
                z = drawn(change, batch._replace(images=images.shape_only()), rng)
                images.move(change, z)
            elif isinstance(change, Photometric) and _own_call(change):
                images.color(change, drawn(change, batch._replace(images=images.shape_only()), rng))
            else:
                batch = change(batch._replace(images=images.done()), rng)
                images = Pending(batch.images)
        return batch._replace(images=images.done())


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


def _own_call(change: Geometric | Photometric) -> bool:
    """Whether the change is nothing but its `placed` or `colors`, so that it can be composed."""
    cls = type(change)
    composable = change.prob == 1 or cls.only is not Augmentation.only
    return composable and cls.__call__ is Augmentation.__call__


class Pending:
    """Images with the geometry, or else the colors, that are still to be applied to them."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.place: Box | Warp | None = None
        self.border: Border | None = None
        self.chain: list[tuple[Photometric, Any]] = []

    def shape_only(self) -> Images:
        """Images of the shape they will have, for draws: no pixels behind them."""
        size = self.images.shape[-2:] if self.place is None else self.place.size
        return self.images.new_empty(1).expand(*self.images.shape[:2], *size)

    def move(self, change: Geometric, z: Any) -> None:
        """Geometry on top of what is pending."""
        if self.chain:
            self.images = self.done()
        size = self.shape_only().shape[-2:]
        place, border = change.placed(z, (size[0], size[1])), change.outside()
        if self.place is not None:
            one = None
            if self.border is None or border is None or self.border == border:
                whole = self.images.shape[-2:]
                one = composed(self.place, place, (whole[0], whole[1]))
            if one is not None:
                self.place, self.border = one, self.border or border
                return
            self.images = self.done()
        self.place, self.border = place, border

    def color(self, change: Photometric, z: Any) -> None:
        """Colors on top of what is pending."""
        if self.place is not None:
            self.images = self.done()
        self.chain.append((change, z))

    def done(self) -> Images:
        """The images with everything applied; nothing is pending then."""
        if self.place is not None:
            self.images = put(self.images, self.place, self.border)
        if self.chain:
            by_channel = all(change.by_channel for change, _ in self.chain)
            needs_mean = any(change.needs_mean for change, _ in self.chain)
            self.images = recolored(self.images, self._colors, needs_mean, by_channel)
        self.place, self.border, self.chain = None, None, []
        return self.images

    def _colors(self, mean: Mean) -> Colors:
        """All maps of the chain as one, for images whose mean color is `mean`."""
        total: Colors | None = None
        for change, z in self.chain:
            colors = change.colors(z, mean)
            total = colors if total is None else then(total, colors)
            mean = mapped(colors, mean)
        assert total is not None
        return total
