"""Optimizers: (model) → torch.optim.Optimizer with parameter groups."""

from typing import ClassVar

from torch import nn
from torch.optim import Optimizer

from goodfit.ingredient import Ingredient


class Optim(Ingredient):
    """Base of all optimizers' settings."""

    noun: ClassVar[str] = "optimizer"

    def __call__(self, model: nn.Module) -> Optimizer:
        raise NotImplementedError
