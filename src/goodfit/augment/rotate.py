"""Turn images around their center by a random angle.

    f(x, z)(p) = x(R(z) p), p from the center;   z ~ U(-max_degrees, max_degrees)

Positive angles turn the content counterclockwise, as in Pillow and torchvision. Corners show what
`border` says. At test time the image is used as it is, or random angles are averaged. Not where the
orientation decides the class: 6 and 9.

Source: Simard et al. 2003, "Best practices for convolutional neural networks". Lecture: Data
Augmentation, Rotation.
"""

from math import pi
from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from goodfit.augment._geometry import Size, Warping
from goodfit.augment._warp import Warp, about_center, matrix
from goodfit.batch import Batch
from goodfit.rand import Rng


class Rotate(Warping):
    max_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0

    def draw(self, batch: Batch, rng: Rng) -> Float[Tensor, " n"]:
        return rng.uniform(-self.max_degrees, self.max_degrees)

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Float[Tensor, " n"]:
        return z * applied

    def placed(self, z: Float[Tensor, " n"], size: Size) -> Warp:
        angle = z * (pi / 180)
        cos, sin = angle.cos(), angle.sin()
        return Warp((about_center(matrix(xx=cos, xy=-sin, yx=sin, yy=cos), size),), size)
