"""All weights the same number, to see why it does not work.

    w = value,   b = 0

All units of a layer are copies of each other and stay so, since they get the same gradient. For
teaching only.

Source: Rumelhart, Hinton & Williams 1986, "Learning representations by back-propagating errors"
(breaking symmetry). Lecture: Weight Initialization.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor

from goodfit.init import Weighted
from goodfit.init._weights import WeightInit


class Constant(WeightInit):
    value: Annotated[float, Field(allow_inf_nan=False)] = 0.01

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        weight.fill_(self.value)
