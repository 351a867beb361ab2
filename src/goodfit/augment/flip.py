"""Mirror images left to right, each with probability `prob`.

    f(x, z) = x mirrored if z else x;   z ~ Bernoulli(prob)

At test time both views are averaged with their probabilities, which is the exact average. Not for
images whose sides mean something: text, digits, road signs, left and right hands.

Source: Krizhevsky et al. 2012 (horizontal reflections). Lecture: Data Augmentation, Horizontal
Flips.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from goodfit.augment import Marginal, View
from goodfit.augment._box import Box, flip_box
from goodfit.augment._geometry import Geometric, Size
from goodfit.batch import Batch
from goodfit.ingredient import Fraction
from goodfit.rand import Rng


class Flip(Geometric):
    marginal: ClassVar[Marginal] = "views"
    prob: Fraction = 0.5

    def draw(self, batch: Batch, rng: Rng) -> Bool[Tensor, " n"]:
        return batch.images.new_ones(len(batch.images), dtype=torch.bool)

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Bool[Tensor, " n"]:
        return z & applied

    def placed(self, z: Bool[Tensor, " n"], size: Size) -> Box:
        return flip_box(z, size)

    def given(self, batch: Batch, z: Bool[Tensor, " n"] | None = None) -> Batch:
        """The images mirrored where z says so; all of them without z."""
        if z is None:
            return batch.with_images(batch.images.flip(-1))
        return super().given(batch, z)

    def views(self, batch: Batch) -> list[View]:
        return [(1 - self.prob, batch), (self.prob, self.given(batch))]
