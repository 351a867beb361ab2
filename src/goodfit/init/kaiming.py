"""Weights of a size that keeps the variance through the activation that follows.

    var w = gain^2 / fan,   b = 0;   gain^2 = 1 / E f(x)^2 for x ~ N(0, 1) and the activation f

That is gain sqrt(2) for ReLU, sqrt(2 / (1 + a^2)) for leaky ReLU and PReLU, 1 where no activation
follows, as in the head. The activation is found in the model itself. (torch's gain for tanh, 5/3,
is a rule of thumb; the formula gives 1.59.) fan "in" keeps the activations' variance, "out" the
gradients'. With norms after each layer it hardly matters; in residual nets add `residual`.

Source: He et al. 2015, arXiv:1502.01852. Lecture: Weight Initialization.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.init import Weighted, draw_with, fans
from goodfit.init._weights import WeightInit


class Kaiming(WeightInit):
    fan: Literal["in", "out"] = "in"
    gain: Positive | None = None  # None: by the activation that follows
    uniform: bool = False  # else normal

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        factor = gain() if self.gain is None else self.gain
        count = fans(layer)[0 if self.fan == "in" else 1]
        draw_with(weight, factor / count**0.5, uniform=self.uniform)
