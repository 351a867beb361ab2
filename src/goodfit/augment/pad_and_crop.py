"""Move images by a few whole pixels: pad every side, crop a random window of the old size.

    f(x, z) = window of the padded x whose corner is z;   z uniform over all corners

At test time the image stands as it is, in the middle of the windows, or random windows are
averaged. Made for small images (4 pixels for 32); for photographs take random-crop.

Source: Lee et al. 2015, arXiv:1409.5185; zeros there, reflected pixels in Zagoruyko & Komodakis
2016, arXiv:1605.07146. Lecture: Data Augmentation, Random Crops.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from goodfit.augment import View
from goodfit.augment._box import Box, shift_box
from goodfit.augment._geometry import Size, Warping
from goodfit.augment._settings import Side, rows_columns
from goodfit.batch import Batch, everywhere
from goodfit.errors import RecipeError
from goodfit.ingredient import Count
from goodfit.rand import Rng


class Corner(NamedTuple):
    """Upper left pixel of a window, counted from the image's own; negative ones are padding."""

    top: Int[Tensor, " n"]
    left: Int[Tensor, " n"]


class PadAndCrop(Warping):
    pad_pixels: Count | Literal[0] = 4  # on every side
    size: Side | None = None  # of the window; the image's own if None

    def draw(self, batch: Batch, rng: Rng) -> Corner:
        rows, columns = self._room(batch)
        least = -self.pad_pixels
        return Corner(
            rng.integers(least, least + rows + 1), rng.integers(least, least + columns + 1)
        )

    def only(self, batch: Batch, z: Corner, applied: Tensor) -> Corner:
        rows, columns = (room // 2 - self.pad_pixels for room in self._room(batch))
        return Corner(torch.where(applied, z.top, rows), torch.where(applied, z.left, columns))

    def placed(self, z: Corner, size: Size) -> Box:
        reach = (self.pad_pixels, self.pad_pixels)
        return shift_box(z.top, z.left, rows_columns(self.size, size), reach)

    def views(self, batch: Batch) -> list[View]:
        rows, columns = (room // 2 - self.pad_pixels for room in self._room(batch))
        middle = Corner(everywhere(batch, rows), everywhere(batch, columns))
        return [(1.0, self.given(batch, middle))]

    def _room(self, batch: Batch) -> tuple[int, int]:
        """By how many pixels the window can move, down and right."""
        h, w = batch.images.shape[-2:]
        rows, columns = rows_columns(self.size, (h, w))
        room = h + 2 * self.pad_pixels - rows, w + 2 * self.pad_pixels - columns
        if min(room) < 0:
            raise RecipeError(
                "pad-and-crop: the window is larger than the padded image",
                at="augment",
                window=f"{rows} x {columns} pixels",
                image=f"{h} x {w} pixels, {self.pad_pixels} more on every side",
                fix="choose a smaller `size` or a larger `pad_pixels`",
            )
        return room
