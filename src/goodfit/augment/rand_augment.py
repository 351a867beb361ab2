"""Change each image by a few operations in a row, all at the same strength.

    f(x, z) = operation z_k ( ... operation z_1 (x));   each z ~ U{14 operations}, random signs

The operations: identity, shear and translate along x and y, rotate, brightness, color (saturation),
contrast, sharpness, posterize, solarize, auto-contrast, equalize. `magnitude` is 0 to 30, the
strongest: shear .3, translate .45 of the side, rotate 30 degrees, factors 1 ± .9, 4 bits. Both
settings are meant to be tuned together; trivial-augment has none. Works on 256 levels: float images
that are changed are rounded to them.

At test time the image is used as it is, or random draws are averaged. Not where color or
orientation decides the class.

Source: Cubuk et al. 2019, arXiv:1909.13719. Lecture: Data Augmentation, Learned policies.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.augment._policy import LEVELS, OPERATIONS, Policy, looked_up, performed, strengths
from goodfit.batch import Batch
from goodfit.ingredient import Count
from goodfit.rand import Rng

_WIDEST = {"shear-x": 0.3, "shear-y": 0.3, "rotate": 30.0}
_WIDEST |= {"brightness": 0.9, "color": 0.9, "contrast": 0.9, "sharpness": 0.9}
_SHIFT = 150 / 331  # of the side: the paper's 150 pixels were of images of 331


class RandAugment(Augmentation):
    marginal: ClassVar[Marginal] = "samples"
    draws_by_shape: ClassVar[bool] = True
    operations: Count = 2  # one after the other
    magnitude: Annotated[int, Field(ge=0, lt=LEVELS)] = 9

    def draw(self, batch: Batch, rng: Rng) -> Policy:
        h, w = batch.images.shape[-2:]
        widest = _WIDEST | {"translate-x": _SHIFT * w, "translate-y": _SHIFT * h}
        table = strengths(widest, posterize=(8.0, 4.0))
        steps = []
        for _ in range(self.operations):
            operation = rng.integers(0, len(OPERATIONS))
            level = torch.full_like(operation, self.magnitude)
            steps.append((operation, looked_up(table, operation, level, rng.sign())))
        return Policy(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))

    def only(self, batch: Batch, z: Policy, applied: Tensor) -> Policy:
        return z._replace(operation=z.operation * applied[:, None])  # 0 is the identity

    def given(self, batch: Batch, z: Policy) -> Batch:
        return batch.with_images(performed(batch.images, z))
