"""See images through another lens: barrel, pincushion and tangential distortion.

    f(x, z)(p) = x(d(p));   r² = x² + y²,
    x_d = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²)
    y_d = y (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p2 x y + p1 (r² + 2 y²)

d maps from the result to the source. Coordinates are from the center, in half diagonals. k1 > 0 is
barrel distortion: the rim looks up the source further out, so it is drawn smaller than the middle
and straight lines bulge outward. k1 < 0 is pincushion. All five are uniform in ± their maximum.

At test time the image is used as it is, or random lenses are averaged. Not where all pictures come
from one camera, in training and in use.

Source: Brown 1966, "Decentering distortion of lenses". Lecture: Data Augmentation, Lens Distortion.
"""

from jaxtyping import Float
from torch import Tensor

from goodfit.augment._geometry import Size, Warping
from goodfit.augment._warp import Bend, Warp
from goodfit.batch import Batch, constant
from goodfit.ingredient import Fraction
from goodfit.rand import Rng

Lenses = Float[Tensor, "n 5"]  # k1, k2, k3, p1, p2


class Lens(Warping):
    max_k1: Fraction = 0.2
    max_k2: Fraction = 0.05
    max_k3: Fraction = 0.0
    max_tangential: Fraction = 0.02  # of p1 and p2

    def draw(self, batch: Batch, rng: Rng) -> Lenses:
        u = 2 * rng.uniforms(5) - 1
        tangential = self.max_tangential
        return u * constant(
            (self.max_k1, self.max_k2, self.max_k3, tangential, tangential), u.device
        )

    def only(self, batch: Batch, z: Lenses, applied: Tensor) -> Lenses:
        return z * applied[:, None]

    def placed(self, z: Lenses, size: Size) -> Warp:
        return Warp((Bend(z, size),), size)
