"""Slant images along their rows and along their columns by random angles, around their center.

    f(x, z)(p) = x(S⁻¹ p), S = [1, tan z1; tan z2, 1], p from the center;   z ~ U(-max, max)

At test time the image is used as it is, or random angles are averaged. Not where right angles
decide the class.

Source: LeCun et al. 1998, §VII.B (distorted characters). Lecture: Data Augmentation, Shearing.
"""

from math import pi
from typing import Annotated, NamedTuple

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from goodfit.augment._geometry import Size, Warping
from goodfit.augment._warp import Warp, about_center, matrix
from goodfit.batch import Batch
from goodfit.rand import Rng


class Slant(NamedTuple):
    """Degrees: `right` moves lower rows to the right, `down` moves right columns down."""

    right: Float[Tensor, " n"]
    down: Float[Tensor, " n"]


class Shear(Warping):
    max_degrees: Annotated[float, Field(ge=0, le=40)] = 10.0

    def draw(self, batch: Batch, rng: Rng) -> Slant:
        degrees = self.max_degrees * (2 * rng.uniforms(2) - 1)
        return Slant(degrees[:, 0], degrees[:, 1])

    def only(self, batch: Batch, z: Slant, applied: Tensor) -> Slant:
        return Slant(z.right * applied, z.down * applied)

    def placed(self, z: Slant, size: Size) -> Warp:
        a, b = (z.right * (pi / 180)).tan(), (z.down * (pi / 180)).tan()
        scale = 1 / (1 - a * b)  # the inverse of [1, a; b, 1]; |a b| < 1 below 45 degrees
        return Warp(
            (about_center(matrix(xx=scale, xy=-a * scale, yx=-b * scale, yy=scale), size),), size
        )
