"""One yes-or-no question for each class, answered by binary cross-entropy.

    loss(x, t) = sum_k -(t_k log sigmoid(x_k) + (1 - t_k) log(1 - sigmoid(x_k)))

Summed over the classes (`over = "mean"` averages), so each logit's gradient is sigmoid(x) - t, as
large as with cross-entropy. It starts at K ln 2. Classes do not compete, so an image may belong to
several or to none, and mixed images to both of theirs. With many classes set the last bias
near -ln(K - 1), or the first steps only learn to say no.

Source: Wightman et al. 2021, arXiv:2110.00476. Lecture: Losses.

>>> import torch
>>> round(BCE()(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # 10 ln 2
6.9315
"""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from goodfit.losses import Loss, as_probabilities


class BCE(Loss):
    linear: ClassVar[bool] = True
    over: Literal["sum", "mean"] = "sum"  # the classes

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        answers = as_probabilities(targets, logits)
        each = F.binary_cross_entropy_with_logits(logits, answers, reduction="none")
        return each.sum(1) if self.over == "sum" else each.mean(1)
