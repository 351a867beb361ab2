"""Dropout as the lecture writes it first: drop in training, scale at test. To teach.

    f(x, z) = z * x;   z ~ Bernoulli(1 - prob), one for each value

At test time values are multiplied by the KEEP probability 1 - prob, which is the average of f.
(The slide says "dropout probability"; in torch and here that is the probability to drop.) Who
forgets this factor feeds the next layer values that are 1 / (1 - prob) times too large;
`goodfit audit` finds that.

Use `dropout`, which computes the same net with the factor moved into training.

Source: Hinton et al. 2012, arXiv:1207.0580. Lecture: Regularization, Dropout, first version.
"""

from typing import Annotated, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from goodfit.layers._attach import drop_after_hidden, drop_before_head
from goodfit.layers._base import Changed, Insertion, StochasticLayer, checked_prob, kept


class VanillaDropout(StochasticLayer):
    """Dropout that scales at test time."""

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = checked_prob("vanilla-dropout", prob)

    def draw(self, x: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        return kept(x, self.prob)

    def given(self, x: Float[Tensor, "..."], z: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * z

    def expect(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * (1 - self.prob)

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}"


class VanillaDropoutInsertion(Insertion):
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.5
    place: Literal["head", "hidden"] = "head"

    def __call__(self, model: nn.Module) -> Changed:
        insert = drop_before_head if self.place == "head" else drop_after_hidden
        return Changed(*insert(model, lambda: VanillaDropout(self.prob)))
