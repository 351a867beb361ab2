"""Show a random part of the image at a fixed size: the random resized crop.

    f(x, z) = window z of x, resized;   its area ~ U(area), log(width / height) ~ U(log ratio)

Ten windows are tried per image; the first that fits is taken, else the largest one in the middle
with a ratio in range. The window's place is uniform. The aspect changes: for crops that keep it,
take scale-jitter. When shrinking, a filter as wide as the shrinking (antialias) keeps fine texture
from turning into noise.

At test time the middle of the image is shown at the same size, uncut on its shorter side, or random
windows are averaged. Not where size or the whole outline decides the class.

Source: Szegedy et al. 2014, arXiv:1409.4842 §6. Lecture: Data Augmentation, Random Crops and
Scales.
"""

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from goodfit.augment import View
from goodfit.augment._box import Box
from goodfit.augment._geometry import Geometric, Size, fitting
from goodfit.augment._settings import FractionRange, PositiveRange, Side, rows_columns
from goodfit.batch import Batch, constant, everywhere
from goodfit.errors import RecipeError
from goodfit.rand import Rng

_TRIES = 10


class Window(NamedTuple):
    """A part of every image, in pixels."""

    top: Int[Tensor, " n"]
    left: Int[Tensor, " n"]
    height: Int[Tensor, " n"]
    width: Int[Tensor, " n"]


class RandomCrop(Geometric):
    area: FractionRange = (0.08, 1.0)  # of the image
    ratio: PositiveRange = (3 / 4, 4 / 3)  # width over height
    size: Side | None = None  # of the result; the image's own if None
    antialias: bool = True

    def model_post_init(self, context: object) -> None:
        if self.area[1] == 0:
            raise RecipeError(
                "random-crop: windows have no area",
                area=str(self.area),
                fix="write area = [0.08, 1]",
            )

    def draw(self, batch: Batch, rng: Rng) -> Window:
        sizes = constant([batch.images.shape[-2:]], batch.images.device)
        return self.windows(sizes, rng)

    def windows(self, sizes: Int[Tensor, "n 2"], rng: Rng) -> Window:
        """The windows of images of these sizes (height, width), before they are decoded."""
        h, w = sizes[:, 0], sizes[:, 1]
        u = rng.uniforms(2 * _TRIES + 2)
        area = (self.area[0] + (self.area[1] - self.area[0]) * u[:, :_TRIES]) * (h * w)[:, None]
        low, high = log(self.ratio[0]), log(self.ratio[1])
        root = (0.5 * (low + (high - low) * u[:, _TRIES : 2 * _TRIES])).exp()  # √ratio
        side = area.sqrt()
        height, width = fitting(side / root, side * root, self._widest(h, w), (h, w))
        top = (u[:, -2] * (h - height + 1)).long()
        left = (u[:, -1] * (w - width + 1)).long()
        return Window(top, left, height, width)

    def only(self, batch: Batch, z: Window, applied: Tensor) -> Window:
        h, w = batch.images.shape[-2:]
        return Window(*(torch.where(applied, a, b) for a, b in zip(z, (0, 0, h, w), strict=True)))

    def placed(self, z: Window, size: Size) -> Box:
        shown = rows_columns(self.size, size)
        return Box(*z, mirrored=None, size=shown, kind="scale", antialias=self.antialias)

    def views(self, batch: Batch) -> list[View]:
        h, w = batch.images.shape[-2:]
        rows, columns = rows_columns(self.size, (h, w))
        scale = min(h / rows, w / columns)  # the largest window of the result's shape
        height, width = round(rows * scale), round(columns * scale)
        middle = ((h - height) // 2, (w - width) // 2, height, width)
        z = Window(*(everywhere(batch, number) for number in middle))
        return [(1.0, self.given(batch, z))]

    def _widest(self, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The largest window with a ratio in range."""
        low, high = self.ratio
        height = torch.minimum(h, (w / low).round().long().clamp_min(1))
        width = torch.minimum(w, (h * high).round().long().clamp_min(1))
        return height, width
