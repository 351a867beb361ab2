"""Penalties: (model) → a scalar added to the loss."""

from typing import ClassVar

from torch import Tensor, nn

from goodfit.ingredient import Ingredient


class Penalty(Ingredient):
    """Base of all penalties."""

    noun: ClassVar[str] = "penalty"

    def __call__(self, model: nn.Module) -> Tensor:
        raise NotImplementedError
