"""The base of geometric augmentations, and how geometry is put together.

Every geometric augmentation says where each pixel of its result comes from: as a `Box` (a
window of the image, moved, mirrored or scaled) or as a `Warp` (any map of the plane). A box that
only moves and mirrors is copied byte by byte; everything else is resampled once. Since both are
maps from the result to the source, neighbors compose before any pixel is touched.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.augment._box import Box, boxed, matrix_of
from goodfit.augment._warp import Border, Warp, warped
from goodfit.batch import Batch, Images
from goodfit.rand import Rng

Size = tuple[int, int]  # rows, columns
SHRINKS_VISIBLY = 1.25  # below this, the four taps of bilinear sampling cover the footprint


class Pixel(NamedTuple):
    """One pixel of every image."""

    row: Int[Tensor, " n"]
    col: Int[Tensor, " n"]


def any_pixel(images: Images, rng: Rng) -> Pixel:
    """A pixel of every image, all equally likely."""
    height, width = images.shape[-2:]
    words = rng.words(2)
    return Pixel((words[:, 0] * height) >> 32, (words[:, 1] * width) >> 32)


class Geometric(Augmentation):
    """Base of augmentations that move pixels: they say where in `placed`."""

    marginal: ClassVar[Marginal] = "samples"
    draws_by_shape: ClassVar[bool] = True

    def placed(self, z: Any, size: Size) -> Box | Warp:
        """Where every pixel of the result comes from, in images of `size`."""
        raise NotImplementedError

    def outside(self) -> Border | None:
        """What lies beyond the edge of the image; None if that is never seen."""
        return None

    def given(self, batch: Batch, z: Any) -> Batch:
        size = (batch.images.shape[-2], batch.images.shape[-1])
        return batch.with_images(put(batch.images, self.placed(z, size), self.outside()))


class Warping(Geometric):
    """Base of geometric augmentations that may look beyond the edge of the image.

    border: what they see there: the mirrored image, its last row or column, or zeros.
    """

    border: Literal["reflect", "edge", "zeros"] = "reflect"

    def outside(self) -> Border:
        return self.border


def put(images: Images, place: Box | Warp, border: Border | None) -> Images:
    """The images with their pixels taken from `place`."""
    border = border or "edge"
    return boxed(images, place, border) if isinstance(place, Box) else warped(images, place, border)


def composed(first: Box | Warp, second: Box | Warp, size: Size) -> Box | Warp | None:
    """`first`, then `second`, as one place in images of `size`; None if they must stay apart.

    They must where the first shrinks so much that it needs a wider filter than the one
    resampling would have, and where a scaled box would have to be moved by parts of pixels.
    """
    if isinstance(first, Box) and isinstance(second, Box):
        return first.then(second)
    if isinstance(first, Box) and shrinks(first, size) > SHRINKS_VISIBLY:
        return None
    if isinstance(second, Box) and second.kind == "scale":
        return None
    after, before = _warp(second), _warp(first)
    return Warp.of(after.steps + before.steps, second.size, after.flat and before.flat)


def shrinks(box: Box, size: Size) -> float:
    """By how much a box in images of `size` can shrink them at most."""
    if box.kind != "scale":
        return 1.0
    return max(size[0] / box.size[0], size[1] / box.size[1])


def _warp(place: Box | Warp) -> Warp:
    return Warp((matrix_of(place),), place.size) if isinstance(place, Box) else place


def fitting(
    high: Tensor, wide: Tensor, widest: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The first of the windows (n, tries) that fits into its image, else the widest.

    image: heights and widths, each of shape (n,) or (1,).
    """
    high, wide = high.round().long(), wide.round().long()
    rows, columns = image[0][:, None], image[1][:, None]
    fits = (high >= 1) & (high <= rows) & (wide >= 1) & (wide <= columns)
    first = fits.int().argmax(dim=1, keepdim=True)
    some = fits.any(dim=1)
    height = torch.where(some, high.gather(1, first)[:, 0], widest[0])
    width = torch.where(some, wide.gather(1, first)[:, 0], widest[1])
    return height, width
