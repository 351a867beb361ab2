"""Pooling that works for any image size."""

from torch import Tensor, nn


class Halve(nn.MaxPool2d):
    """2x2 max pooling; a picture of one row or column stays as it is."""

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if min(x.shape[-2:]) > 1 else x
