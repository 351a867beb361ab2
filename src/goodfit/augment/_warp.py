"""Maps of the plane, from the result's pixels to places in the source, and sampling there.

A warp is a chain of homographies and lenses. Neighboring homographies are multiplied, so a
chain of any length costs one resampling (bilinear). What lies outside is asked once, of the source
image: what one map of a chain pushes out of the frame, the next can bring back.

Coordinates are in pixels: the first pixel covers 0..1, its center is at 0.5.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from goodfit.batch import Images, as_float, constant

Border = Literal["reflect", "edge", "zeros"]
Matrix = Float[Tensor, "n 3 3"]
Points = Float[Tensor, "n 2 h w"]
_PADDING = {"reflect": "reflection", "edge": "border", "zeros": "zeros"}


class Bend(NamedTuple):
    """A lens: k1, k2, k3, p1, p2 of Brown and Conrady, for images of `size`."""

    coefficients: Float[Tensor, "n 5"]
    size: tuple[int, int]


class Warp(NamedTuple):
    """A chain of maps, the one nearest to the result first, and the size of the result.

    flat: no homography of the chain has a vanishing point, that is, all are affine.
    """

    steps: tuple[Matrix | Bend, ...]
    size: tuple[int, int]
    flat: bool = True

    @staticmethod
    def of(steps: "tuple[Matrix | Bend, ...]", size: tuple[int, int], flat: bool = True) -> "Warp":
        """The warp with neighboring matrices multiplied."""
        folded: list[Matrix | Bend] = []
        for step in steps:
            if folded and isinstance(step, Tensor) and isinstance(folded[-1], Tensor):
                folded[-1] = step @ folded[-1]
            else:
                folded.append(step)
        return Warp(tuple(folded), size, flat)


def matrix(
    xx: Tensor | float = 1.0,
    xy: Tensor | float = 0.0,
    x: Tensor | float = 0.0,
    yx: Tensor | float = 0.0,
    yy: Tensor | float = 1.0,
    y: Tensor | float = 0.0,
) -> Matrix:
    """Affine maps, x' = xx x + xy y + x and y' = yx x + yy y + y, from numbers per sample."""
    rows = (xx, xy, x, yx, yy, y)
    like = next(entry for entry in rows if isinstance(entry, Tensor))
    full = [
        e if isinstance(e, Tensor) else torch.full_like(like, e) for e in (*rows, 0.0, 0.0, 1.0)
    ]
    return torch.stack(full, dim=1).view(-1, 3, 3)


def about_center(m: Matrix, size: tuple[int, int]) -> Matrix:
    """The map m, given around the center of images of `size`, in pixels from the corner."""
    x, y = size[1] / 2, size[0] / 2
    center = constant([[1, 0, x], [0, 1, y], [0, 0, 1]], m.device).to(m.dtype)
    back = constant([[1, 0, -x], [0, 1, -y], [0, 0, 1]], m.device).to(m.dtype)
    return center @ m @ back


def warped(images: Images, warp: Warp, border: Border, mode: str = "bilinear") -> Images:
    """The images sampled where the warp says, as float."""
    h, w = images.shape[-2:]
    unit = matrix(
        xx=torch.full((1,), 2 / w, device=images.device), x=-1.0, yy=2 / h, y=-1.0
    )  # pixels to grid_sample's -1..1
    last = Warp.of((*warp.steps, unit), warp.size, warp.flat)
    grid = points(last, len(images), images.device).permute(0, 2, 3, 1)
    source = as_float(images)
    return F.grid_sample(source, grid.to(source.dtype), mode, _PADDING[border], align_corners=False)


def points(warp: Warp, n: int, device: torch.device) -> Points:
    """Where each pixel of the result lies in the source, x before y.

    The two coordinates are planes, not pairs: the sampler reads these fastest.
    """
    rows, columns = warp.size
    x = torch.arange(columns, device=device) + 0.5
    y = torch.arange(rows, device=device)[:, None] + 0.5
    at: Shaped[Tensor, ...] | None = None
    for step in warp.steps:
        if isinstance(step, Bend):
            if at is None:
                at = torch.stack([x.expand(rows, columns), y.expand(rows, columns)]).expand(
                    n, 2, rows, columns
                )
            at = bent(at, step)
            continue
        m = step[:, :, :, None, None]
        keep = 2 if warp.flat else 3
        if at is None:
            at = (m[:, :keep, 0] * x + m[:, :keep, 2]) + m[:, :keep, 1] * y
        else:
            at = m[:, :keep, 0] * at[:, :1] + m[:, :keep, 1] * at[:, 1:2] + m[:, :keep, 2]
        if not warp.flat:
            at = at[:, :2] / at[:, 2:].clamp_min(1e-6)
    assert at is not None
    return at.expand(n, 2, rows, columns)


def bent(at: Points, lens: Bend) -> Points:
    """Points of the result through Brown and Conrady's lens, to points of the source."""
    h, w = lens.size
    half = (h * h + w * w) ** 0.5 / 2  # half the diagonal is 1
    x, y = (at[:, 0] - w / 2) / half, (at[:, 1] - h / 2) / half
    k1, k2, k3, p1, p2 = (k[:, None, None] for k in lens.coefficients.unbind(1))
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return torch.stack([xd * half + w / 2, yd * half + h / 2], dim=1)
