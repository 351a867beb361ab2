"""Paste a random rectangle of another image of the batch, and weigh the loss by the areas.

    f(x, z) = x_j inside the box, x_i outside;   box √(1 - λ) of each side, λ ~ Beta(α, α), its
    center uniform over the pixels, cut off at the border; loss λ' ℓ(y_i) + (1 - λ') ℓ(y_j),
    λ' = 1 - area / (height · width) of what is left of the box

All is drawn for each sample. At test time the whole image is used. Not for images in which the
object is small: the box may hold nothing of it, and its label is mixed in all the same.

Source: Yun et al. 2019, arXiv:1905.04899. Lecture: Regularization, CutMix.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from goodfit.augment._geometry import any_pixel
from goodfit.augment._hiding import painted, spans
from goodfit.augment._mixing import Mixing
from goodfit.batch import Batch
from goodfit.rand import Rng


class Paste(NamedTuple):
    """A box of every image, ends exclusive, and whose pixels fill it."""

    top: Int[Tensor, " n"]
    bottom: Int[Tensor, " n"]
    left: Int[Tensor, " n"]
    right: Int[Tensor, " n"]
    partner: Int[Tensor, " n"]


class CutMix(Mixing):
    def draw(self, batch: Batch, rng: Rng) -> Paste:
        h, w = batch.images.shape[-2:]
        share = (1 - rng.beta(self.alpha, self.alpha)).sqrt()
        center = any_pixel(batch.images, rng)
        high, wide = (share * h).long(), (share * w).long()
        top, left = center.row - high // 2, center.col - wide // 2
        return Paste(
            top.clamp(0, h),
            (top + high).clamp(0, h),
            left.clamp(0, w),
            (left + wide).clamp(0, w),
            rng.partners(),
        )

    def only(self, batch: Batch, z: Paste, applied: Tensor) -> Paste:
        return z._replace(bottom=torch.where(applied, z.bottom, z.top))  # an empty box

    def given(self, batch: Batch, z: Paste) -> Batch:
        h, w = batch.images.shape[-2:]
        rows, columns = spans(z.top, z.bottom, h), spans(z.left, z.right, w)
        other = batch.images.index_select(0, z.partner)
        weight = 1 - ((z.bottom - z.top) * (z.right - z.left)).float() / (h * w)
        return batch.mixed(painted(batch.images, rows, columns, other), weight, z.partner)
