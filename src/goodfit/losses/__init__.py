"""Losses: (logits, targets) → loss. Ours say the loss of every sample, so mixing can weigh it."""

from typing import ClassVar

from torch import Tensor

from goodfit.ingredient import Ingredient


class Loss(Ingredient):
    """Base of all losses.

    logits: (n, k). targets: (n, k) class probabilities, or (n,) class indices.
    """

    noun: ClassVar[str] = "loss"

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each sample, (n,)."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch, a scalar."""
        return self.per_sample(logits, targets).mean()
