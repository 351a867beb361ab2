"""Weights of a size that keeps the variance from a layer's input to its output.

    var w = 1 / fan_in,   b = 0;   fan_in = k^2 C_in / groups for a convolution

For nets without activation, for tanh near zero, and for SELU, which needs exactly this. ReLU loses
half of the variance in each layer: take `kaiming`. What many call Xavier is this one.

Source: LeCun et al. 1998, "Efficient BackProp"; Klambauer et al. 2017, arXiv:1706.02515 (SELU).
Lecture: Weight Initialization.
"""

from collections.abc import Callable

from torch import Tensor

from goodfit.init import Weighted, draw_with, fans
from goodfit.init._weights import WeightInit


class LeCun(WeightInit):
    uniform: bool = False  # else normal

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        draw_with(weight, fans(layer)[0] ** -0.5, uniform=self.uniform)
