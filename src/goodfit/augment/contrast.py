"""Strengthen or weaken the contrast of images.

    f(x, z) = z x + (1 - z) g, clamped to 0..1;   g the mean gray of the image

z ~ U(max(0, 1 - strength), 1 + strength). Gray is luma (BT.601) for RGB, the mean for one or two
channels.

At test time the image is used as it is, or random draws are averaged. Not where contrast itself
decides the class.

Source: Howard 2013, arXiv:1312.5402. Lecture: Data Augmentation, Color Jitter.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._color import Colors, Mean, Photometric, around_one, contrasted
from goodfit.batch import Batch
from goodfit.ingredient import NonNegative
from goodfit.rand import Rng


class Contrast(Photometric):
    by_channel: ClassVar[bool] = True
    needs_mean: ClassVar[bool] = True
    strength: NonNegative = 0.4

    def draw(self, batch: Batch, rng: Rng) -> Float[Tensor, " n"]:
        return around_one(self.strength, rng.uniform())

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Float[Tensor, " n"]:
        return torch.where(applied, z, 1.0)

    def colors(self, z: Float[Tensor, " n"], mean: Mean) -> Colors:
        return contrasted(z, mean)
