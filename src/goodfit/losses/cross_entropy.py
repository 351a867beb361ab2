"""The negative logarithm of the probability that the net gives to the right class.

    loss(x, t) = -sum_k w_k t'_k log softmax(x)_k;   t' = (1 - smoothing) t + smoothing / K

The mean over the batch is a plain mean: class weights are not divided out, so the loss of a
sample does not depend on its neighbors. It is linear in the targets, so mixed batches and soft
targets need one call. Class weights together with smoothing are refused: smoothing moves
probability onto the other classes, whose weights would then decide the loss of every sample.
Not for images with several classes at once: use `bce`.

Source: Szegedy et al. 2016, arXiv:1512.00567 (smoothing). Lecture: Losses; Regularization,
label smoothing.

>>> import torch
>>> round(CrossEntropy()(torch.zeros(4, 10), torch.arange(4)).item(), 4)  # ln 10
2.3026
"""

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from goodfit.batch import constant
from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import NonNegative
from goodfit.losses import Loss, as_probabilities


class CrossEntropy(Loss):
    linear: ClassVar[bool] = True
    smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    class_weights: tuple[NonNegative, ...] = ()  # one per class; empty for none

    @model_validator(mode="after")
    def _not_both(self) -> "CrossEntropy":
        if self.class_weights and self.smoothing:
            raise RecipeError(
                "cross-entropy cannot have class weights and label smoothing at once",
                smoothing=self.smoothing,
                class_weights=self.class_weights,
                fix="set smoothing = 0, or balance the classes by sampling instead of weights",
            )
        return self

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        if not self.class_weights:
            return F.cross_entropy(
                logits,
                targets if targets.ndim == 1 else targets.float(),
                reduction="none",
                label_smoothing=self.smoothing,
            )
        if len(self.class_weights) != logits.shape[1]:
            raise ModelError(
                "there must be one class weight for each class",
                class_weights=len(self.class_weights),
                classes=logits.shape[1],
                fix=f"give {logits.shape[1]} numbers, or none",
            )
        weights = constant(self.class_weights, logits.device)
        return -(weights * as_probabilities(targets, logits) * logits.log_softmax(1)).sum(1)
