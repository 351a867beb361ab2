"""Small normal numbers of one size for all layers.

    w ~ N(0, std^2),   b = 0

Right for some width only: in a deep net 0.01 makes the activations die out layer by layer and
0.05 may saturate them. AlexNet's way, and the lecture's first attempt; `kaiming` fits the size to
each layer.

Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks".
Lecture: Weight Initialization.
"""

from collections.abc import Callable

from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.init import Weighted, draw_with
from goodfit.init._weights import WeightInit


class Normal(WeightInit):
    std: Positive = 0.01

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        draw_with(weight, self.std, uniform=False)
