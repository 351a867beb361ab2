"""Subtract each channel's mean.

    y = x - mean_c,   the mean pooled over all pixels of all training images

Pixels stay on the scale 0..1, so the net's first layer sees smaller numbers than with
`channel-stats`, which is the better default. At test time the same numbers are used.

Source: Simonyan & Zisserman 2015, arXiv:1409.1556 (VGG). Lecture: Data Preprocessing.
"""

from typing import Self

import torch
from torch import Tensor, nn

from goodfit.errors import RecipeError
from goodfit.ingredient import Fraction
from goodfit.preprocess import Affine, Preprocess, channel_moments, rounded


class ChannelMean(Preprocess):
    mean: tuple[Fraction, ...] = ()  # per channel, of pixels in 0..1; empty until fitted

    def fitted(self, images: Tensor) -> Self:
        return self if self.mean else self.replaced(mean=rounded(channel_moments(images)[0]))

    def __call__(self) -> nn.Module:
        if not self.mean:
            raise RecipeError(
                "channel-mean has no mean yet",
                fix="call fitted(training_images) first, or set mean",
            )
        mean = torch.tensor(self.mean).view(-1, 1, 1)
        return Affine(torch.ones_like(mean), -mean)
