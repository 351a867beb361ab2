"""Show a window of fixed size of the image at a random scale, as ResNet was trained.

    f(x, z) = a window of `size` pixels of x, scaled so that its shorter side is L;   L ~ U{short}

The aspect is kept and all windows show the same number of pixels: another law than random-crop's. A
window's corner lies on a pixel of the original image, all such places equally likely. Scaling down
is antialiased.

At test time the middle of the image is shown, at the middle of the scales, or random windows are
averaged. Not for images much smaller than `size`: it would blow them up.

Source: Simonyan & Zisserman 2014, arXiv:1409.1556 §3.1; He et al. 2015, arXiv:1512.03385 §3.4.
Lecture: Data Augmentation, Random Crops and Scales.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goodfit.augment import View
from goodfit.augment._box import Box
from goodfit.augment._geometry import Geometric, Size
from goodfit.augment._settings import CountRange
from goodfit.batch import Batch, everywhere
from goodfit.errors import RecipeError
from goodfit.ingredient import Count
from goodfit.rand import Rng


class Patch(NamedTuple):
    """A square of every image, in its pixels."""

    top: Int[Tensor, " n"]
    left: Int[Tensor, " n"]
    side: Float[Tensor, " n"]


class ScaleJitter(Geometric):
    short: CountRange = (256, 480)  # pixels of the scaled image's shorter side, both ends included
    size: Count = 224  # pixels of a side of the window

    def model_post_init(self, context: object) -> None:
        if self.size > self.short[0]:
            raise RecipeError(
                "scale-jitter: the window is larger than the scaled image",
                size=str(self.size),
                short=f"[{self.short[0]}, {self.short[1]}]",
                fix=f"write size = {self.short[0]} or less, or larger `short`",
            )

    def draw(self, batch: Batch, rng: Rng) -> Patch:
        short = rng.integers(self.short[0], self.short[1] + 1)
        side = self.size * min(batch.images.shape[-2:]) / short
        return self._somewhere(batch, side, rng.uniforms(2))

    def only(self, batch: Batch, z: Patch, applied: Tensor) -> Patch:
        return Patch(*map(torch.where, (applied,) * 3, z, self._middle(batch)))

    def placed(self, z: Patch, size: Size) -> Box:
        return Box(z.top, z.left, z.side, z.side, None, (self.size, self.size), "scale")

    def views(self, batch: Batch) -> list[View]:
        return [(1.0, self.given(batch, self._middle(batch)))]

    def _middle(self, batch: Batch) -> Patch:
        short = (self.short[0] + self.short[1]) / 2
        side = everywhere(batch, self.size * min(batch.images.shape[-2:])) / short
        return self._somewhere(batch, side, torch.full((1, 2), 0.5, device=side.device))

    def _somewhere(self, batch: Batch, side: Tensor, u: Tensor) -> Patch:
        """A window whose place among all that fit is u (uniform, if u is)."""
        h, w = batch.images.shape[-2:]
        room = (torch.stack([h - side, w - side], dim=1).floor() + 1).clamp_min(1)
        corner = (u * room).long()
        return Patch(corner[:, 0], corner[:, 1], side)
