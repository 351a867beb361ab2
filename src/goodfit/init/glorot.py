"""Weights of a size between what activations and gradients want.

    var w = 2 / (fan_in + fan_out),   b = 0;   fans of a convolution: k^2 C / groups

Made for tanh and its like. ReLU loses half of the variance in each layer: take `kaiming`. Often
called Xavier.

Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
networks". Lecture: Weight Initialization.
"""

from collections.abc import Callable

from torch import Tensor

from goodfit.init import Weighted, draw_with, fans
from goodfit.init._weights import WeightInit


class Glorot(WeightInit):
    uniform: bool = True  # else normal

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        draw_with(weight, (2 / sum(fans(layer))) ** 0.5, uniform=self.uniform)
