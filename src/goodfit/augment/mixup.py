"""Blend every image with another one of the batch, and the loss with it.

    f(x, z) = λ x_i + (1 - λ) x_j,   loss λ ℓ(y_i) + (1 - λ) ℓ(y_j);   λ ~ Beta(α, α), j a partner

λ and the partner are drawn for each sample. α = 1 is the paper's choice on CIFAR-10, 0.2 on
ImageNet. At test time the whole image is used, unmixed. Not for few epochs: it slows down fitting.

Source: Zhang et al. 2018, arXiv:1710.09412. Lecture: Regularization, Mixup.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from goodfit.augment._mixing import Mixing
from goodfit.batch import Batch, per_image
from goodfit.rand import Rng


class Mix(NamedTuple):
    """What each sample is blended with, and the share it keeps."""

    weight: Float[Tensor, " n"]
    partner: Int[Tensor, " n"]


class Mixup(Mixing):
    def draw(self, batch: Batch, rng: Rng) -> Mix:
        return Mix(rng.beta(self.alpha, self.alpha), rng.partners())

    def only(self, batch: Batch, z: Mix, applied: Tensor) -> Mix:
        return z._replace(weight=torch.where(applied, z.weight, 1.0))

    def given(self, batch: Batch, z: Mix) -> Batch:
        other, own = batch.images.index_select(0, z.partner), batch.images
        weight = per_image(z.weight, own)
        if own.is_floating_point():
            images = other.lerp_(own, weight.to(own.dtype))
        else:
            images = other.float().lerp_(own.float(), weight).mul_(1 / 255)
        return batch.mixed(images, z.weight, z.partner)
