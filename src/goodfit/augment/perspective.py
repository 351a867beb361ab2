"""Look at images from the side: their corners move inward by random amounts.

    f(x, z)(p) = x(H p), H the homography that takes the moved corners back to the image's;
    each corner moves by U(0, distortion / 2) of the height and of the width

At test time the image is used as it is, or random views are averaged. Outside of the moved corners
lies what `border` says. Not for scans, which are flat.

Source: Hartley & Zisserman 2004, §2.3 (homographies); the law of the corners is torchvision's.
Lecture: Data Augmentation, Perspective.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._geometry import Size, Warping
from goodfit.augment._warp import Matrix, Warp
from goodfit.batch import Batch, constant
from goodfit.ingredient import Fraction
from goodfit.rand import Rng

Corners = Float[Tensor, "n 4 2"]  # clockwise from the upper left; x before y, inward, of the side


class Perspective(Warping):
    distortion: Fraction = 0.3

    def draw(self, batch: Batch, rng: Rng) -> Corners:
        return rng.uniforms(8).reshape(-1, 4, 2) * (self.distortion / 2)

    def only(self, batch: Batch, z: Corners, applied: Tensor) -> Corners:
        return z * applied[:, None, None]

    def placed(self, z: Corners, size: Size) -> Warp:
        inward = constant([[1, 1], [-1, 1], [-1, -1], [1, -1]], z.device).to(z.dtype)
        square = constant([[0, 0], [1, 0], [1, 1], [0, 1]], z.device).to(z.dtype)
        moved = square + inward * z.clamp_max(0.499)  # of the sides: the square is the image
        scale = torch.diag(constant([size[1], size[0], 1.0], z.device))
        unscale = torch.diag(constant([1 / size[1], 1 / size[0], 1.0], z.device))
        return Warp((scale @ inverse(onto(moved)) @ unscale,), size, flat=False)


def onto(corners: Corners) -> Matrix:
    """The homographies that take the unit square to four corners (Heckbert 1989, §2.2.3)."""
    x, y = corners.unbind(2)
    dx1, dx2, sx = x[:, 1] - x[:, 2], x[:, 3] - x[:, 2], x[:, 0] - x[:, 1] + x[:, 2] - x[:, 3]
    dy1, dy2, sy = y[:, 1] - y[:, 2], y[:, 3] - y[:, 2], y[:, 0] - y[:, 1] + y[:, 2] - y[:, 3]
    whole = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / whole, (dx1 * sy - sx * dy1) / whole
    rows = [x[:, 1] - x[:, 0] + g * x[:, 1], x[:, 3] - x[:, 0] + h * x[:, 3], x[:, 0]]
    rows += [y[:, 1] - y[:, 0] + g * y[:, 1], y[:, 3] - y[:, 0] + h * y[:, 3], y[:, 0]]
    return torch.stack([*rows, g, h, torch.ones_like(g)], dim=1).view(-1, 3, 3)


def inverse(m: Matrix) -> Matrix:
    """The inverse up to scale, which homographies do not feel: the adjugate, by cross products."""
    a, b, c = m.unbind(1)
    cross = torch.linalg.cross
    return torch.stack([cross(b, c), cross(c, a), cross(a, b)], dim=2)
