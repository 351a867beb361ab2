"""Move images by whole pixels.

    f(x, z) = x moved by z;   z uniform over whole pixels, up to ± max_shift of each side

At test time the image is used as it is, or random moves are averaged. Whole pixels are copied, not
resampled, so nothing blurs. Not where the place decides the class.

Source: LeCun et al. 1998, §VII.B (distorted characters). Lecture: Data Augmentation, Translation.
"""

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from goodfit.augment._box import Box, shift_box
from goodfit.augment._geometry import Size, Warping
from goodfit.batch import Batch
from goodfit.ingredient import Fraction
from goodfit.rand import Rng


class Move(NamedTuple):
    """Pixels by which the content moves."""

    down: Int[Tensor, " n"]
    right: Int[Tensor, " n"]


class Translate(Warping):
    max_shift: Fraction = 0.1  # of the image's height, and of its width

    def draw(self, batch: Batch, rng: Rng) -> Move:
        h, w = batch.images.shape[-2:]
        down, right = self._most((h, w))
        return Move(rng.integers(-down, down + 1), rng.integers(-right, right + 1))

    def only(self, batch: Batch, z: Move, applied: Tensor) -> Move:
        return Move(z.down * applied, z.right * applied)

    def placed(self, z: Move, size: Size) -> Box:
        return shift_box(-z.down, -z.right, size, self._most(size))

    def _most(self, size: Size) -> Size:
        down, right = (round(self.max_shift * side) for side in size)
        if self.border == "reflect":  # mirrors less than the whole image
            down, right = min(down, size[0] - 1), min(right, size[1] - 1)
        return down, right
