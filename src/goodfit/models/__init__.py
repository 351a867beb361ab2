"""Models: (classes, channels) → nn.Module that maps float images (n, c, h, w) to logits (n, k)."""

from typing import ClassVar

from torch import nn

from goodfit.ingredient import Ingredient


class Model(Ingredient):
    """Base of all models' settings."""

    noun: ClassVar[str] = "model"

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        raise NotImplementedError
