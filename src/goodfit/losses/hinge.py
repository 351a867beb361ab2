"""The multiclass hinge: every wrong class should score lower than the right one by a margin.

    loss(x, y) = sum_{j != y} max(0, x_j - x_y + margin)

Summed over the wrong classes, so it starts near (K - 1) * margin. Soft targets mean the
expectation over the class; so does a mixed batch. It gives scores, not probabilities: use
`cross-entropy` where calibration matters.

Source: Weston & Watkins 1999, "Support vector machines for multi-class pattern recognition".
Lecture: Losses, the multiclass SVM loss.

>>> import torch
>>> cat = torch.tensor([[3.2, 5.1, -1.7]])  # the lecture's
>>> round(Hinge()(cat, torch.tensor([0])).item(), 4)
2.9
"""

from typing import ClassVar

import torch
from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.losses import Loss, spread


class Hinge(Loss):
    linear: ClassVar[bool] = True
    margin: Positive = 1.0

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        terms = [weight * self._of_class(logits, y) for weight, y in spread(targets)]
        return torch.stack(terms).sum(0) if terms else logits.new_zeros(len(logits))

    def _of_class(self, logits: Tensor, y: Tensor) -> Tensor:
        right = logits.gather(1, y[:, None])
        over = (logits - right + self.margin).clamp_min(0)
        return over.scatter(1, y[:, None], 0.0).sum(1)
