"""Images in memory: from any array to uint8 (n, c, h, w), and between numbers of channels."""

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from goodfit.errors import DataError


def as_images(values: Any, at: str) -> UInt8[Tensor, "n c h w"]:
    """Any of the accepted arrays as uint8 (n, c, h, w)."""
    array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in (1, 2, 3, 4) and array.shape[1] not in (1, 3, 4):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 2, 3, 4) or not array.size:
        raise DataError(
            "the images have a shape that cannot be used",
            at=at,
            shape=tuple(array.shape),
            fix="give (n, h, w), (n, h, w, c) or (n, c, h, w) with 1 to 4 channels",
        )
    return torch.from_numpy(np.ascontiguousarray(_as_bytes(array, at)))


def _as_bytes(array: np.ndarray, at: str) -> np.ndarray:
    low, high = (
        (float(array.min()), float(array.max())) if array.dtype.kind in "iuf" else (0.0, 1.0)
    )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16 and high > 255:
        return np.round(array / 257.0).astype(np.uint8)
    if array.dtype.kind in "iu" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and low >= 0 and high <= 1:  # false for nan
        return np.round(array * 255.0).astype(np.uint8)
    raise DataError(
        "the images have values that cannot be used",
        at=at,
        seen=f"{array.dtype} from {low:g} to {high:g}",
        fix="give uint8, or floats from 0 to 1",
    )


def with_channels(images: UInt8[Tensor, "n c h w"], channels: int) -> UInt8[Tensor, "n c h w"]:
    """The images with another number of channels; alpha is dropped, or added as opaque."""
    have = images.shape[1]
    if have == channels:
        return images
    color = images[:, : 1 if have <= 2 else 3]
    if channels >= 3 and color.shape[1] == 1:
        color = color.expand(-1, 3, -1, -1)
    elif channels <= 2 and color.shape[1] == 3:
        color = torch.cat([_luma(part) for part in torch.split(color, 1024)])
    if channels in (1, 3):
        return color.contiguous()
    alpha = images[:, -1:] if have in (2, 4) else torch.full_like(color[:, :1], 255)
    return torch.cat([color, alpha], dim=1)


def _luma(color: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 1 h w"]:
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    return (color * weights).sum(1, keepdim=True).round().to(torch.uint8)
