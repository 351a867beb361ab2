"""All weights zero, to see why it does not work.

    w = 0,   b = 0

Every unit of a layer computes the same and gets the same gradient, so they stay copies of each
other; behind a zero layer there is no gradient at all. For teaching only: the net never learns
more than the classes' frequencies.

Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors"
(breaking symmetry). Lecture: Weight Initialization.
"""

from collections.abc import Callable

from torch import Tensor

from goodfit.init import Weighted
from goodfit.init._weights import WeightInit


class Zeros(WeightInit):
    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        weight.zero_()
