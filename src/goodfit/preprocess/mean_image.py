"""Subtract the mean image, pixel by pixel.

    y = x - mean_chw,   the mean over all training images at each place

For images of one size whose places mean something. Images of another size, and the
fully-convolutional tests, are refused: take `channel-mean` there. The mean is a buffer of the
module and saved with the model; the recipe keeps its shape. At test time the same mean is used.

Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks".
Lecture: Data Preprocessing.
"""

from typing import Self

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from goodfit.ingredient import Count
from goodfit.preprocess import Affine, Preprocess, Values, in_chunks, unloaded


class MeanImage(Preprocess):
    shape: tuple[Count, Count, Count] | None = None  # channels, rows, columns; from the images
    _values: Values = PrivateAttr(default_factory=Values)

    def fitted(self, images: Tensor) -> Self:
        total = sum(chunk.sum(0) for chunk in in_chunks(images))
        assert isinstance(total, Tensor)
        found = self.replaced(shape=tuple(images.shape[1:]))
        found._values = Values(mean=total.cpu() / len(images) / 255)
        return found

    def __call__(self) -> nn.Module:
        mean = self._values.get("mean", unloaded(self.name, self.shape))
        return Affine(torch.ones(mean.shape[0], 1, 1), -mean)
