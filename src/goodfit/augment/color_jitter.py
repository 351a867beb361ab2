"""Change brightness, contrast, saturation and hue at random, in this order, as one map of colors.

    brightness x → b x;   contrast x → c x + (1 - c) g, g the image's mean gray;
    saturation x → s x + (1 - s) gray(x);   hue: colors turned around the gray axis
    b ~ U(1 - brightness, 1 + brightness), not below 0; c, s alike; turn ~ U(-hue, hue) turns

All four are affine, so together they are one matrix per image and cost one pass; values are clamped
to 0..1 once, at the end. The hue is a rotation, not HSV's shift, which is not affine: both agree at
thirds of a turn and keep grays. Gray is luma (BT.601) for RGB, the mean for one or two channels.
Images of one or two channels have no saturation and no hue; a fourth channel keeps its own.

At test time the image is used as it is, or random colors are averaged. Not where color decides the
class.

Source: Krizhevsky et al. 2012, Howard 2013, arXiv:1312.5402. Lecture: Data Augmentation, Color
Jitter.
"""

from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._color import (
    Colors,
    Mean,
    Photometric,
    around_one,
    brightened,
    contrasted,
    hue_turned,
    mapped,
    saturated,
    then,
)
from goodfit.augment._settings import Turns
from goodfit.batch import Batch
from goodfit.ingredient import NonNegative
from goodfit.rand import Rng


class Jitter(NamedTuple):
    """Factors, and the turn of the hue."""

    brightness: Float[Tensor, " n"]
    contrast: Float[Tensor, " n"]
    saturation: Float[Tensor, " n"]
    hue: Float[Tensor, " n"]


class ColorJitter(Photometric):
    needs_mean: ClassVar[bool] = True
    brightness: NonNegative = 0.4
    contrast: NonNegative = 0.4
    saturation: NonNegative = 0.4
    hue: Turns = 0.1  # of the circle, to either side

    def draw(self, batch: Batch, rng: Rng) -> Jitter:
        b, c, s, hue = rng.uniforms(4).unbind(1)
        return Jitter(
            around_one(self.brightness, b),
            around_one(self.contrast, c),
            around_one(self.saturation, s),
            self.hue * (2 * hue - 1),
        )

    def only(self, batch: Batch, z: Jitter, applied: Tensor) -> Jitter:
        neutral = (1.0, 1.0, 1.0, 0.0)
        return Jitter(*(torch.where(applied, a, b) for a, b in zip(z, neutral, strict=True)))

    def colors(self, z: Jitter, mean: Mean) -> Colors:
        total = brightened(z.brightness, mean)
        total = then(total, contrasted(z.contrast, mapped(total, mean)))
        if mean.shape[1] < 3:
            return total
        return then(then(total, saturated(z.saturation, mean)), hue_turned(z.hue, mean))
