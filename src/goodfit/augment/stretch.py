"""Stretch or squeeze images along each axis by random factors, around their center.

    f(x, z)(p) = x(p / z), p from the center;   log z ~ U(-log max_factor, log max_factor), per axis

At test time the image is used as it is, or random factors are averaged. Not where proportions
decide the class.

Source: LeCun et al. 1998, §VII.B (distorted characters). Lecture: Data Augmentation, Stretching.
"""

from math import log
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from goodfit.augment._geometry import Size, Warping
from goodfit.augment._warp import Warp, about_center, matrix
from goodfit.batch import Batch
from goodfit.rand import Rng


class Factors(NamedTuple):
    """By how much the content grows."""

    down: Float[Tensor, " n"]
    right: Float[Tensor, " n"]


class Stretch(Warping):
    max_factor: Annotated[float, Field(ge=1, le=4)] = 1.2

    def draw(self, batch: Batch, rng: Rng) -> Factors:
        factor = (log(self.max_factor) * (2 * rng.uniforms(2) - 1)).exp()
        return Factors(factor[:, 0], factor[:, 1])

    def only(self, batch: Batch, z: Factors, applied: Tensor) -> Factors:
        return Factors(torch.where(applied, z.down, 1.0), torch.where(applied, z.right, 1.0))

    def placed(self, z: Factors, size: Size) -> Warp:
        return Warp((about_center(matrix(xx=1 / z.right, yy=1 / z.down), size),), size)
