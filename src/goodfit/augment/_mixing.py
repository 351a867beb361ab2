"""The base of augmentations that blend every sample with a partner from the batch.

The loss is interpolated over `Batch.parts`, so they are right for every loss; `targets` are the
mixture's, for losses that take class probabilities.
"""

from typing import ClassVar

from goodfit.augment import Augmentation, Marginal
from goodfit.ingredient import Positive


class Mixing(Augmentation):
    """Base of Mixup and CutMix.

    alpha: of Beta(alpha, alpha), the law of the share that a sample keeps.
    """

    marginal: ClassVar[Marginal] = "identity"
    draws_by_shape: ClassVar[bool] = True
    alpha: Positive = 1.0
