"""Preprocessing: fitted on the training split alone, then a module stored with the model."""

from typing import ClassVar, Self

from torch import Tensor, nn

from goodfit.ingredient import Ingredient


class Preprocess(Ingredient):
    """Base of all preprocessing settings.

    `fitted(images)` returns a copy in which every value is explicit (means, axes); called, it
    makes the module that turns images (n, c, h, w), uint8 or float in 0..1, into the model's
    float input.
    """

    noun: ClassVar[str] = "preprocessing"

    def fitted(self, images: Tensor) -> Self:
        """The settings with their values from training images (m, c, h, w), uint8 or float."""
        return self

    def __call__(self) -> nn.Module:
        raise NotImplementedError
