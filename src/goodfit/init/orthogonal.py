"""Weights whose rows are orthogonal, so that no direction of the input is lost or blown up.

    W W^T = gain^2 I  (or W^T W, if there are fewer columns),   b = 0

Filters are taken as rows of a matrix, group by group. The gain is that of `kaiming`. For deep nets
without norms, and recurrent ones; with norms `kaiming` does as well and is quicker.

Source: Saxe et al. 2014, arXiv:1312.6120. Lecture: Weight Initialization.
"""

from collections.abc import Callable

from torch import Tensor

from goodfit.ingredient import Positive
from goodfit.init import Weighted, draw_orthogonal
from goodfit.init._weights import WeightInit


class Orthogonal(WeightInit):
    gain: Positive | None = None  # None: by the activation that follows

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        draw_orthogonal(weight, layer, gain() if self.gain is None else self.gain)
