"""Losses: (logits, targets) → loss. Ours say the loss of every sample, so mixing can weigh it."""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from goodfit.ingredient import Ingredient


class Loss(Ingredient):
    """Base of all losses.

    logits: (n, k). targets: (n, k) class probabilities, or (n,) class indices.
    linear: whether `per_sample` is linear (or affine) in the targets. The loss of a mixture is
        then the mixture of the losses, and one call is enough for mixed batches.
    """

    noun: ClassVar[str] = "loss"
    linear: ClassVar[bool] = False

    def per_sample(self, logits: Float[Tensor, "n k"], targets: Tensor) -> Float[Tensor, " n"]:
        """The loss of each sample, (n,)."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch, a scalar."""
        return self.per_sample(logits, targets).mean()


def as_probabilities(targets: Tensor, logits: Tensor) -> Float[Tensor, "n k"]:
    """Targets as class probabilities, whichever way they were given."""
    if targets.ndim == 1:
        return F.one_hot(targets.long(), logits.shape[1]).to(logits.dtype)
    return targets.to(logits.dtype)


def spread(targets: Tensor) -> Iterator[tuple[Float[Tensor, " n"], Int[Tensor, " n"]]]:
    """Targets as (weight, class index) pairs, one or more per sample, for losses of one class.

    Hard targets give one pair of weight 1; soft ones as many as their fullest row has classes.
    """
    if targets.ndim == 1:
        yield torch.ones(len(targets), device=targets.device), targets.long()
        return
    most = int((targets != 0).sum(1).amax()) if len(targets) else 0
    weights, classes = targets.topk(most, dim=1)
    yield from zip(weights.unbind(1), classes.unbind(1), strict=True)
