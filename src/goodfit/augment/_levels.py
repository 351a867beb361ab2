"""Bytes from floats: the 256 levels of a channel."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def as_levels(images: Float[Tensor, "n c h w"], rounded: bool = True) -> UInt8[Tensor, "n c h w"]:
    """Floats in about 0..255 as bytes, rounded or else cut off; overwrites its input.

    By way of int32: from float straight to bytes takes torch twice as long on a CPU.
    """
    whole = images.round_() if rounded else images
    return whole.clamp_(0, 255).to(torch.int32).to(torch.uint8)
