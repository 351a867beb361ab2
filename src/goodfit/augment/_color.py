"""The base of photometric augmentations: one affine map of the colors per image.

    f(x, z) = M x + b   for every pixel x, a vector of c channels; (M | b) is (n, c, c + 1)

Maps of neighbors are multiplied, so a chain of any length costs one pass over the pixels. Values
are in 0..1 and are clamped to it once, at the end of a chain: results of a chain and of its
members one by one differ only where a member would have clamped and a later one came back.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.batch import Batch, Images, as_float, constant

Mean = Float[Tensor, "n c"]
Colors = Float[Tensor, "n c c+1"]
_AT_ONCE = 1 << 20  # numbers
_CROSS = tuple(tuple(v / 3**0.5 for v in row) for row in ((0, -1, 1), (1, 0, -1), (-1, 1, 0)))
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision


class Photometric(Augmentation):
    """Base of augmentations that change colors, each pixel by itself: they say how in `colors`."""

    marginal: ClassVar[Marginal] = "samples"
    draws_by_shape: ClassVar[bool] = True
    needs_mean: ClassVar[bool] = False  # of the image, to change it around
    by_channel: ClassVar[bool] = False  # no channel looks at another: M is diagonal

    def colors(self, z: Any, mean: Mean) -> Colors:
        """The map of the colors, for images whose mean color is `mean`."""
        raise NotImplementedError

    def given(self, batch: Batch, z: Any) -> Batch:
        images = recolored(
            batch.images, lambda mean: self.colors(z, mean), self.needs_mean, self.by_channel
        )
        return batch.with_images(images)


def mean_color(images: Images) -> Mean:
    """The mean color of every image, in 0..1."""
    return torch.cat([as_float(images[some]).mean((2, 3)).float() for some in parts_of(images)])


def recolored(
    images: Images, colors_of: Callable[[Mean], Colors], needs_mean: bool, by_channel: bool
) -> Images:
    """A map of the colors, made from the images' mean color, applied to every pixel.

    As float in 0..1. The mean given is zero if it is not needed.
    """
    n, c, h, w = images.shape
    kept = images.dtype if images.is_floating_point() else torch.float32
    unit = 1.0 if images.is_floating_point() else 1 / 255
    parts, diagonal = parts_of(images), by_channel or c == 1
    spare = len(parts) == 1 and not images.is_floating_point()
    if spare:
        images = images.to(kept)  # once, for the mean and the map, and to be overwritten
    source = images.reshape(n, c, h * w)
    if needs_mean:
        means = [source[some].to(kept).mean(2).float() for some in parts]
        mean = (means[0] if len(means) == 1 else torch.cat(means)) * unit
    else:
        mean = torch.zeros(n, c, device=images.device)
    colors = colors_of(mean)
    shift = colors[:, :, c:].to(kept).contiguous()
    if diagonal:  # laid out as the pixels are: strides cost a third of the pass
        linear = (colors.diagonal(dim1=1, dim2=2)[:, :, None] * unit).to(kept).contiguous()
    else:
        linear = (colors[:, :, :c] * unit).to(kept)
    result = source if spare and diagonal else source.new_empty(source.shape, dtype=kept)
    for some in parts:
        flat, shown = source[some].to(kept), result[some]
        if diagonal:
            torch.mul(flat, linear[some], out=shown).add_(shift[some])
        else:
            torch.baddbmm(shift[some], linear[some], flat, out=shown)
        shown.clamp_(0, 1)
    return result.view(n, c, h, w)


def parts_of(images: Images) -> list[slice]:
    """The batch in parts that stay in a core's cache from one step to the next.

    One part elsewhere than on a CPU, and for the compiler, which joins the steps itself.
    """
    n, size = len(images), max(1, images.shape[1:].numel())
    whole = images.device.type != "cpu" or torch.compiler.is_compiling()
    step = max(1, n if whole else _AT_ONCE // size)
    return [slice(i, i + step) for i in range(0, max(1, n), step)]


def then(first: Colors, second: Colors) -> Colors:
    """The map of `first`, then `second`."""
    c = first.shape[1]
    linear = second[:, :, :c] @ first
    return torch.cat([linear[:, :, :c], linear[:, :, c:] + second[:, :, c:]], dim=2)


def mapped(colors: Colors, mean: Mean) -> Mean:
    """The mean color after a map of the colors."""
    return (colors[:, :, :-1] @ mean[:, :, None] + colors[:, :, -1:])[:, :, 0]


def map_of(linear: Tensor, shift: Tensor | None = None) -> Colors:
    """The map with a linear part (n, c, c) and a shift (n, c), zero if none."""
    shift = linear.new_zeros(linear.shape[:2]) if shift is None else shift
    return torch.cat([linear, shift[:, :, None]], dim=2)


def gained(factor: Float[Tensor, " n"], channels: int, shift: Tensor | None = None) -> Colors:
    """The map x → factor · x + shift, the same for all channels; shift (n,), zero if none."""
    colors = factor.new_zeros(len(factor), channels, channels + 1)
    colors.diagonal(dim1=1, dim2=2).copy_(factor[:, None])
    if shift is not None:
        colors[:, :, channels] = shift[:, None]
    return colors


def gray_weights(channels: int, device: torch.device) -> Float[Tensor, " c"]:
    """How much each channel counts in the gray of a pixel: luma for RGB (and alpha: nothing)."""
    if channels < 3:
        return torch.full((channels,), 1 / channels, device=device)
    return constant(LUMA + (0.0,) * (channels - 3), device)


def brightened(factor: Float[Tensor, " n"], mean: Mean) -> Colors:
    """x → factor · x."""
    return gained(factor, mean.shape[1])


def contrasted(factor: Float[Tensor, " n"], mean: Mean) -> Colors:
    """x → factor · x + (1 - factor) · g, g the mean gray of the image."""
    gray = mean @ gray_weights(mean.shape[1], mean.device)
    return gained(factor, mean.shape[1], (1 - factor) * gray)


def saturated(factor: Float[Tensor, " n"], mean: Mean) -> Colors:
    """x → factor · x + (1 - factor) · gray(x), for the first three channels."""
    c = mean.shape[1]
    whole = torch.eye(c, device=mean.device)
    if c < 3:
        return map_of(whole.expand(len(mean), c, c))
    color = (torch.arange(c, device=mean.device) < 3).float()
    gray = color[:, None] * gray_weights(c, mean.device)  # gray into every color channel
    rest = torch.diag(1 - color)
    return map_of(factor[:, None, None] * (whole - rest - gray) + gray + rest)


def hue_turned(turns: Float[Tensor, " n"], mean: Mean) -> Colors:
    """Colors turned around the gray axis (Rodrigues), for the first three channels."""
    c = mean.shape[1]
    whole = torch.eye(c, device=mean.device)
    if c < 3:
        return map_of(whole.expand(len(mean), c, c))
    thirds, cross, rest = (whole.new_zeros(c, c) for _ in "abc")
    thirds[:3, :3] = 1 / 3
    cross[:3, :3] = constant(_CROSS, whole.device)
    rest[3:, 3:] = whole[3:, 3:]
    angle = (turns * (2 * torch.pi))[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    return map_of(cos * (whole - rest - thirds) + thirds + sin * cross + rest)


def around_one(strength: float, u: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A factor uniform in [max(0, 1 - strength), 1 + strength), from u uniform in [0, 1)."""
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * u
