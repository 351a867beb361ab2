"""Dropout for SELU nets: it keeps mean 0 and variance 1 of the activations.

    f(x, z) = a * (z * x + (1 - z) * floor) + b;   z ~ Bernoulli(1 - prob), one for each value
    floor = -scale * alpha = -1.7581,   q = 1 - prob
    a = (q + floor^2 * q * prob)^(-1/2),   b = -a * prob * floor

Dropped values become SELU's lowest output instead of 0, and everything is scaled and shifted so
that inputs of mean 0 and variance 1 keep both.

At test time values pass as they are. That keeps the moments over a layer, not the average of
each value: the average of f is a * q * x, which is x made smaller (0.83 x at prob = 0.1). So the
audit calls it approximate, and small probabilities are right: 0.05 to 0.1.

Only behind `selu`, with init `lecun` and without batch norm.

Source: Klambauer et al. 2017, arXiv:1706.02515. Lecture: Activation Functions, SELU.
"""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from goodfit.layers._dropping import Dropping, DroppingInsertion

FLOOR = -1.0507009873554805 * 1.6732632423543772  # SELU at minus infinity


class AlphaDropout(Dropping):
    """Dropout to the floor of SELU, with the moments restored."""

    def __init__(self, prob: float = 0.1) -> None:
        super().__init__(prob)
        keep = 1 - self.prob
        self.factor = (keep + FLOOR**2 * keep * self.prob) ** -0.5
        self.shift = -self.factor * self.prob * FLOOR

    def given(self, x: Float[Tensor, "..."], z: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.where(z, x, FLOOR).mul_(self.factor).add_(self.shift)

    def expect(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x


class AlphaDropoutInsertion(DroppingInsertion):
    layer: ClassVar[type[Dropping]] = AlphaDropout
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.1
    place: Literal["head", "hidden"] = "hidden"
