"""Change each image by one operation of fourteen, at a strength, all drawn uniformly.

    f(x, z) = operation z1 at strength z2 of x;   z1 ~ U{14 operations}, z2 ~ ± U{31 strengths}

The operations: identity, shear and translate along x and y, rotate, brightness, color (saturation),
contrast, sharpness, posterize, solarize, auto-contrast, equalize. The paper's wide ranges: shear
.99, translate 32 pixels, rotate 135 degrees, factors 1 ± .99, 8 to 2 bits. Nothing is to be tuned.
Works on 256 levels: float images that are changed are rounded to them.

At test time the image is used as it is, or random draws are averaged. Not where color or
orientation decides the class.

Source: Müller & Hutter 2021, arXiv:2103.10158. Lecture: Data Augmentation, Learned policies.
"""

from typing import ClassVar

from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.augment._policy import LEVELS, OPERATIONS, Policy, looked_up, performed, strengths
from goodfit.batch import Batch
from goodfit.rand import Rng

_WIDEST = {"shear-x": 0.99, "shear-y": 0.99, "rotate": 135.0}
_WIDEST |= {"translate-x": 32.0, "translate-y": 32.0}
_WIDEST |= {"brightness": 0.99, "color": 0.99, "contrast": 0.99, "sharpness": 0.99}


class TrivialAugment(Augmentation):
    marginal: ClassVar[Marginal] = "samples"
    draws_by_shape: ClassVar[bool] = True

    def draw(self, batch: Batch, rng: Rng) -> Policy:
        operation = rng.integers(0, len(OPERATIONS))
        table = strengths(_WIDEST, posterize=(8.0, 2.0))
        strength = looked_up(table, operation, rng.integers(0, LEVELS), rng.sign())
        return Policy(operation[:, None], strength[:, None])

    def only(self, batch: Batch, z: Policy, applied: Tensor) -> Policy:
        return z._replace(operation=z.operation * applied[:, None])  # 0 is the identity

    def given(self, batch: Batch, z: Policy) -> Batch:
        return batch.with_images(performed(batch.images, z))
