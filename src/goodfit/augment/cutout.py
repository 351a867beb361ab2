"""Hide one random square of every image, so that no single part can decide the class.

    f(x, z) = fill inside the square centered at z, x outside;   z uniform over the pixels

The border cuts the square off, so a center near an edge hides less, as in the paper: a square of
16 pixels hides .191 of an image of 32 x 32 on average, not .25. The paper's sizes are 0.5 (16
pixels) for CIFAR-10 and 0.25 for CIFAR-100. It fills with 0 after normalization, which is the mean
color of the training set: `fill = "mean"`.

At test time the whole image is used. Helps most on small data sets of small images.

Source: DeVries & Taylor 2017, arXiv:1708.04552. Lecture: Regularization, Cutout.
"""

from typing import ClassVar, Self

import torch
from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.augment._geometry import Pixel, any_pixel
from goodfit.augment._hiding import Fill, by_mean, mean_fill, paint_of, painted, spans
from goodfit.batch import Batch, Images
from goodfit.ingredient import Fraction
from goodfit.rand import Rng


class Cutout(Augmentation):
    marginal: ClassVar[Marginal] = "identity"
    draws_by_shape: ClassVar[bool] = True
    size: Fraction = 0.25  # side of the square over the shorter side of the image
    fill: Fill = 0.5  # gray, a color, or "mean": the training set's mean color, by `fitted`

    def fitted(self, images: Images) -> Self:
        return self.replaced(fill=mean_fill(images)) if by_mean(self.fill) else self

    def draw(self, batch: Batch, rng: Rng) -> Pixel:
        return any_pixel(batch.images, rng)

    def only(self, batch: Batch, z: Pixel, applied: Tensor) -> Pixel:
        far = -sum(batch.images.shape[-2:])  # a center whose square is outside
        return Pixel(torch.where(applied, z.row, far), z.col)

    def given(self, batch: Batch, z: Pixel) -> Batch:
        h, w = batch.images.shape[-2:]
        side = round(self.size * min(h, w))
        rows = spans(z.row - side // 2, z.row - side // 2 + side, h)
        columns = spans(z.col - side // 2, z.col - side // 2 + side, w)
        color = paint_of(self.fill, batch.images)
        return batch.with_images(painted(batch.images, rows, columns, color))
