"""Surgery on any convolutional net: another stem for small images, another number of channels."""

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.models import Model

Stem = Annotated[
    Literal["auto", "full", "small"],
    Field(description='"small" keeps the resolution at the start, for images up to 64 pixels'),
]
SMALL_SIDE = 64  # up to this side "auto" means "small": a full stem leaves 32 pixels 1 x 1


class StemModel(Model):
    """A model whose first layers can be those for small images.

    stem: "full" is the published one. "small" lets the first convolution keep the resolution and
        drops the max pooling behind it. "auto" is the one for the data's image size, once
        that is known (`suited`); until then the full one.
    """

    stem: Stem = "auto"

    def suited(self, side: int) -> Self:
        if self.stem != "auto":
            return self
        return self.replaced(stem="small" if side <= SMALL_SIDE else "full")


def with_small_stem(net: nn.Module, *, keep_kernel: bool = False) -> nn.Module:
    """`net` whose first convolution keeps the resolution and is not followed by pooling.

    A kernel wider than 3 becomes 3, unless `keep_kernel` says that its weights are to stay.
    """
    name, first = first_conv(net)
    if any(_fixes_its_grid(module) for module in net.modules()):
        raise ModelError(
            f"{type(net).__name__} has a fixed grid of patches, which no stem changes",
            at=name,
            fix='use stem = "full"; nets of timm take options = {patch_size = 4}',
        )
    if first.groups != 1:
        raise ModelError(
            f"the first convolution of {type(net).__name__} has groups",
            at=name,
            fix='use stem = "full"',
        )
    side = first.kernel_size[0] if keep_kernel else min(3, first.kernel_size[0])
    if side > 3 and not side % 2:
        raise ModelError(
            f"{type(net).__name__} reads patches of {side} pixels, which no stem changes",
            at=name,
            fix="give the net another patch size, or larger images with train.image_size",
        )
    new = nn.Conv2d(
        *(first.in_channels, first.out_channels, side),
        padding=side // 2,
        bias=first.bias is not None,
    )
    if side == first.kernel_size[0]:
        new.load_state_dict(first.state_dict())
    put(net, name, new)
    for pool_name, module in _until_second_conv(net):
        if isinstance(module, nn.MaxPool2d):
            put(net, pool_name, nn.Identity())
            break
    return net


def with_channels(net: nn.Module, channels: int) -> nn.Module:
    """`net` for images of `channels` channels, with a fresh first convolution if that differs."""
    name, first = first_conv(net)
    if first.in_channels != channels:
        put(net, name, _like(first, channels))
    return net


def channels_of(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight for another number of channels.

    One channel gets the sum over the old ones, so that a gray image acts as it did in color.
    More repeat the old ones, scaled so that the sum over channels stays.
    """
    old = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    copies = torch.arange(channels) % old
    return weight[:, copies] * (old / channels)


def first_conv(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the images."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ModelError(
        f"{type(net).__name__} has no convolution", fix='use stem = "full" and 3 channels'
    )


def put(net: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` in the place called `name`."""
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, new)


def _like(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A fresh copy of `conv` with another number of input channels."""
    kind: Any = type(conv)  # timm has convolutions of its own that pad like TensorFlow
    fresh: nn.Conv2d = kind(
        *(channels, conv.out_channels, conv.kernel_size, conv.stride),
        padding=conv.padding,
        dilation=conv.dilation,
        bias=conv.bias is not None,
    )
    return fresh


def _fixes_its_grid(module: nn.Module) -> bool:
    """Whether it was made for images of one size, as embeddings of patches are."""
    return any(getattr(module, name, None) is not None for name in ("img_size", "image_size"))


def _until_second_conv(net: nn.Module) -> list[tuple[str, nn.Module]]:
    found, convs = [], 0
    for name, module in net.named_modules():
        convs += isinstance(module, nn.Conv2d)
        if convs >= 2:
            break
        found.append((name, module))
    return found
