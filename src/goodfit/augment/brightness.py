"""Make images brighter or darker.

    f(x, z) = z x, clamped to 0..1;   z ~ U(max(0, 1 - strength), 1 + strength)

Every channel is scaled alike.

At test time the image is used as it is, or random draws are averaged. Not where brightness decides
the class.

Source: Howard 2013, arXiv:1312.5402. Lecture: Data Augmentation, Color Jitter.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._color import Colors, Mean, Photometric, around_one, brightened
from goodfit.batch import Batch
from goodfit.ingredient import NonNegative
from goodfit.rand import Rng


class Brightness(Photometric):
    by_channel: ClassVar[bool] = True
    strength: NonNegative = 0.4

    def draw(self, batch: Batch, rng: Rng) -> Float[Tensor, " n"]:
        return around_one(self.strength, rng.uniform())

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Float[Tensor, " n"]:
        return torch.where(applied, z, 1.0)

    def colors(self, z: Float[Tensor, " n"], mean: Mean) -> Colors:
        return brightened(z, mean)
