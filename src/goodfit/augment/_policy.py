"""The operations of the found policies, as Pillow does them, for whole batches.

Every sample has one operation and a strength of its own. Operations work on bytes, the images'
own levels, since posterizing and equalizing mean nothing else; only the samples that an operation
concerns are touched.
"""

from collections.abc import Callable
from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from goodfit.augment._color import brightened, contrasted, mean_color, saturated
from goodfit.augment._levels import as_levels
from goodfit.augment._warp import Warp, about_center, matrix, warped
from goodfit.batch import Images, constant

Levels = UInt8[Tensor, "n c h w"]
Change = Callable[[Levels, Tensor, Tensor], Levels]  # images, operation, strength
GEOMETRY = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
COLOR = ("brightness", "color", "contrast")
OPERATIONS = (
    *("identity", *GEOMETRY, *COLOR),
    *("sharpness", "posterize", "solarize", "auto-contrast", "equalize"),
)
LEVELS = 31  # of strength
SIGNED = (*GEOMETRY, *COLOR, "sharpness")  # whose strength may be negative


class Policy(NamedTuple):
    """Operations of every sample in their order, by their place in OPERATIONS, and strengths."""

    operation: Int[Tensor, "n steps"]
    strength: Float[Tensor, "n steps"]


def strengths(widest: dict[str, float], posterize: tuple[float, float]) -> Tensor:
    """The strength of every operation at each of the 31 levels: (operations, levels)."""
    steps = torch.linspace(0, 1, LEVELS)
    table = torch.stack([steps * widest.get(name, 0.0) for name in OPERATIONS])
    first, last = posterize
    bits = first - (torch.arange(LEVELS) / ((LEVELS - 1) / (first - last))).round()
    table[OPERATIONS.index("posterize")] = bits
    table[OPERATIONS.index("solarize")] = 255 * (1 - steps)
    return table


def looked_up(
    table: Tensor, operation: Int[Tensor, " n"], level: Int[Tensor, " n"], sign: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Each sample's strength, with its sign if the operation has one."""
    strength = table.to(level.device, non_blocking=True)[operation, level]
    signed = constant([name in SIGNED for name in OPERATIONS], level.device)
    return torch.where(signed[operation], strength * sign, strength)


def performed(images: Images, z: Policy) -> Images:
    """The images after all steps, in their own dtype; float images are rounded to levels."""
    levels = images if not images.is_floating_point() else as_levels(images * 255)
    step = _whole_step if _counting_is_dear(images) else _step
    for operation, strength in zip(z.operation.unbind(1), z.strength.unbind(1), strict=True):
        levels = step(levels, operation, strength)
    if not images.is_floating_point():
        return levels
    untouched = (z.operation == OPERATIONS.index("identity")).all(1)
    return torch.where(untouched[:, None, None, None], images, levels.to(images.dtype) * (1 / 255))


def _counting_is_dear(images: Images) -> bool:
    """Whether to do everything to all samples and choose after: counts wait for a device."""
    return torch.compiler.is_compiling() or images.device.type != "cpu"


def _whole_step(images: Levels, operation: Tensor, strength: Tensor) -> Levels:
    result = images
    for first, end, change in _GROUPS:
        concerned = (operation >= first) & (operation < end)
        changed = change(images, operation, strength)
        result = torch.where(concerned[:, None, None, None], changed, result)
    return result


def _step(images: Levels, operation: Tensor, strength: Tensor) -> Levels:
    """Sorts the samples by operation, changes each group, and puts all back in order."""
    order = operation.argsort()
    images = images.index_select(0, order)
    counts = torch.bincount(operation, minlength=len(OPERATIONS)).tolist()
    operation, strength = operation[order], strength[order]
    changed, start = [], 0
    for first, end, change in _GROUPS:
        stop = start + sum(counts[first:end])
        if stop > start:
            some = slice(start, stop)
            changed.append(change(images[some], operation[some], strength[some]))
        start = stop
    return torch.cat(changed).index_select(0, order.argsort())


def _same(images: Levels, _operation: Tensor, _strength: Tensor) -> Levels:
    return images


def _moved(images: Levels, operation: Tensor, strength: Tensor) -> Levels:
    """Shears, translations and rotations, all as one map; zeros outside, nearest pixels."""
    size = (images.shape[-2], images.shape[-1])
    amount = {name: strength * (operation == OPERATIONS.index(name)) for name in GEOMETRY}
    angle = amount["rotate"] * (pi / 180)
    cos, sin = angle.cos(), angle.sin()
    m = about_center(matrix(xx=cos, xy=-sin, yx=sin, yy=cos), size)
    move = matrix(
        xy=amount["shear-x"],
        yx=amount["shear-y"],
        x=-amount["translate-x"].trunc(),
        y=-amount["translate-y"].trunc(),
    )  # shears are around the upper left corner, as in the papers
    moved = warped(images.float(), Warp((m @ move,), size), "zeros", mode="nearest")
    return as_levels(moved, rounded=False)


def _colored(images: Levels, operation: Tensor, strength: Tensor) -> Levels:
    mean = mean_color(images)
    factor = 1 + strength
    maps = [change(factor, mean) for change in (brightened, saturated, contrasted)]
    which = (operation - OPERATIONS.index("brightness")).clamp(0, 2)
    colors = torch.stack(maps, dim=1)[torch.arange(len(which), device=which.device), which]
    n, c, h, w = images.shape
    flat = images.float().view(n, c, h * w)
    result = torch.baddbmm(colors[:, :, c:] * 255, colors[:, :, :c], flat)
    return as_levels(result).view(n, c, h, w)


def _sharpened(images: Levels, _operation: Tensor, strength: Tensor) -> Levels:
    """Away from (or toward) a smoothed image; the outermost pixels keep theirs."""
    if min(images.shape[-2:]) < 3:
        return images
    x = images.float()
    inner = x[..., 1:-1, 1:-1]
    rows = (x[..., :-2, :] + x[..., 1:-1, :]).add_(x[..., 2:, :])  # sums of three; a pool is slow
    smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    smooth = smooth.add_(inner, alpha=4).mul_(1 / 13).round_()
    inner.copy_(smooth.lerp_(inner, 1 + strength.view(-1, 1, 1, 1)))
    return as_levels(x)


def _posterized(images: Levels, _operation: Tensor, strength: Tensor) -> Levels:
    """Only the upper `strength` bits of every level."""
    dropped = 8 - strength.round().clamp(0, 8).long()
    mask = 255 - (torch.ones_like(dropped) << dropped) + 1
    return images & mask.clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 1)


def _solarized(images: Levels, _operation: Tensor, strength: Tensor) -> Levels:
    """Levels from `strength` on are inverted: 255 - x is x with all its bits turned."""
    first = strength.ceil().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 1)
    return (images >= first).to(torch.uint8).mul_(255).bitwise_xor_(images)


def _autocontrasted(images: Levels, _operation: Tensor, _strength: Tensor) -> Levels:
    """Each channel stretched to the whole range of levels."""
    low = images.amin((2, 3), keepdim=True).float()
    high = images.amax((2, 3), keepdim=True).float()
    flat = high == low
    scale = torch.where(flat, 1.0, 255 / (high - low).clamp_min(1))
    return as_levels(images.float().sub_(low * ~flat).mul_(scale), rounded=False)


def _equalized(images: Levels, _operation: Tensor, _strength: Tensor) -> Levels:
    """Each channel's levels spread so that all are about equally frequent, as Pillow does it."""
    n, c, h, w = images.shape
    places = images.reshape(n, c, h * w).long()
    counts = torch.zeros(n, c, 256, dtype=torch.int64, device=images.device)
    counts = counts.scatter_add(2, places, counts.new_ones(()).expand_as(places))
    below = counts.cumsum(2)
    highest = 255 - (counts.flip(2) > 0).int().argmax(2, keepdim=True)  # the last level in use
    step = (h * w - counts.gather(2, highest)) // 255
    table = (below - counts + step // 2) // step.clamp_min(1)
    same = torch.arange(256, device=images.device).expand_as(table)
    table = torch.where(step == 0, same, table.clamp(0, 255)).to(torch.uint8)
    return table.gather(2, places).view(n, c, h, w)


# which operations each change does, by their places in OPERATIONS
_GROUPS: tuple[tuple[int, int, Change], ...] = (
    (0, 1, _same),
    (1, 6, _moved),
    (6, 9, _colored),
    (9, 10, _sharpened),
    (10, 11, _posterized),
    (11, 12, _solarized),
    (12, 13, _autocontrasted),
    (13, 14, _equalized),
)
