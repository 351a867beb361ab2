"""Cross-entropy that cares less about images that are already right.

    loss(x, y) = -w_y (1 - p_y)^gamma log p_y;   p = softmax(x)

Soft targets mean the expectation over the class; so does a mixed batch. gamma = 0 is
cross-entropy. Made for classes of very unequal size; on balanced data it mostly lowers the
confidence, and wrong labels get more weight, not less.

Source: Lin et al. 2017, arXiv:1708.02002. Lecture: Losses.

>>> import torch
>>> round(Focal(gamma=2)(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # ln(2) / 4
0.1733
"""

from typing import ClassVar

from torch import Tensor

from goodfit.batch import constant
from goodfit.errors import ModelError
from goodfit.ingredient import NonNegative
from goodfit.losses import Loss, as_probabilities


class Focal(Loss):
    linear: ClassVar[bool] = True
    gamma: NonNegative = 2.0
    class_weights: tuple[NonNegative, ...] = ()  # one per class; empty for none

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(1)
        wrong = -log_p.expm1()  # 1 - p without cancellation
        each = -log_p * wrong.clamp_min(1e-12) ** self.gamma  # a zero has no slope for gamma < 1
        if self.class_weights:
            if len(self.class_weights) != logits.shape[1]:
                raise ModelError(
                    "there must be one class weight for each class",
                    class_weights=len(self.class_weights),
                    classes=logits.shape[1],
                    fix=f"give {logits.shape[1]} numbers, or none",
                )
            each = each * constant(self.class_weights, log_p.device)
        return (as_probabilities(targets, log_p) * each).sum(1)
