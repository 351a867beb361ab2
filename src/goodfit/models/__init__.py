"""Models: (classes, channels) → nn.Module that maps float images (n, c, h, w) to logits (n, k).

In training a model may return a tuple (logits, *auxiliary logits); its attribute `aux_weight` is
the share with which the auxiliary losses count. In evaluation it returns the logits alone.
"""

from typing import ClassVar, NamedTuple, Self

from torch import nn

from goodfit.ingredient import Ingredient


class PixelConstants(NamedTuple):
    """What a pretrained net expects of its input; images are scaled to 0..1 before."""

    mean: tuple[float, ...]  # per channel
    std: tuple[float, ...]
    side: int  # of the images it was trained on, in pixels
    interpolation: str  # "bilinear" or "bicubic"


class Model(Ingredient):
    """Base of all models' settings."""

    noun: ClassVar[str] = "model"

    def suited(self, side: int) -> Self:
        """The settings with everything explicit that depends on the side of the images."""
        return self

    def constants(self) -> PixelConstants | None:
        """The preprocessing that the pretrained weights were trained with; None without weights."""
        return None

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        raise NotImplementedError
