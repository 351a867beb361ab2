"""Rectangles of images, painted over.

A rectangle is the product of a set of rows and a set of columns, so its mask is one `and` of two
short masks, and painting is arithmetic on the images' own bits, which is many times faster than
a select and leaves bytes bytes.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from goodfit.batch import Images, constant
from goodfit.ingredient import Fraction

Fill = Fraction | tuple[Fraction, ...] | Literal["mean"] | None
_WORD = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


def spans(start: Int[Tensor, " n"], end: Int[Tensor, " n"], side: int) -> Bool[Tensor, "n side"]:
    """Which of `side` places lie in start .. end - 1."""
    place = torch.arange(side, device=start.device)
    return (place >= start[:, None]) & (place < end[:, None])


def painted(
    images: Images, rows: Bool[Tensor, "n h"], columns: Bool[Tensor, "n w"], paint: Tensor
) -> Images:
    """`paint` (of the images' dtype, broadcastable to them) where both rows and columns say so."""
    if torch.compiler.is_compiling():  # whose masks of bytes are slow
        wide = torch.promote_types(images.dtype, torch.int32)
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(inside, paint.to(wide), images.to(wide)).to(images.dtype)
    word = _WORD[images.element_size()]
    full = 255 if word is torch.uint8 else -1
    down, right = rows.to(word) * full, columns.to(word) * full
    mask = down[:, None, :, None] & right[:, None, None, :]
    inside = mask & paint.contiguous().view(word)
    return (images.contiguous().view(word) & ~mask).bitwise_or_(inside).view(images.dtype)


def paint_of(fill: Fill, images: Images) -> Tensor:
    """A color in 0..1, gray or one number per channel, in the images' dtype: (1, 1 or c, 1, 1)."""
    gray = fill if isinstance(fill, int | float) else 0.5  # the middle, until it is fitted
    levels = fill if isinstance(fill, tuple) else (gray,)
    scale = 1.0 if images.is_floating_point() else 255.0
    color = [level * scale for level in levels]
    if not images.is_floating_point():
        color = [float(round(level)) for level in color]
    return constant(color, images.device).to(images.dtype).view(1, -1, 1, 1)


def by_mean(fill: object) -> bool:
    """Whether the fill is still to be taken from the training images."""
    return fill is None or fill == "mean"


def mean_fill(images: Images) -> tuple[float, ...]:
    """The mean color of training images, one number per channel."""
    total = [float(images[:, i].double().mean()) for i in range(images.shape[1])]
    return tuple(value if images.is_floating_point() else value / 255 for value in total)
