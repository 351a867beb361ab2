"""Silence random units, so that no unit can rely on another being there.

    f(x, z) = z * x / (1 - prob);   z ~ Bernoulli(1 - prob), one for each value

At test time nothing is dropped: kept values are scaled up in training, so the average of f is x,
exactly, up to the next nonlinearity. (The lecture scales at test instead: `vanilla-dropout`.)

`prob` is the share that is dropped, as in torch. By default one dropout is put right before the
head; `place = "hidden"` puts one after every hidden nonlinearity, which suits fully-connected
nets. Not before batch norm: the variance that it learns in training is not that of testing.

Source: Srivastava et al. 2014, JMLR 15; Hinton et al. 2012, arXiv:1207.0580.
Lecture: Regularization, Dropout.
"""

from typing import Annotated, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from goodfit.layers._attach import drop_after_hidden, drop_before_head
from goodfit.layers._base import Changed, Insertion, StochasticLayer, checked_prob, kept


class Dropout(StochasticLayer):
    """Inverted dropout with an explicit mask."""

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = checked_prob("dropout", prob)

    def draw(self, x: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        return kept(x, self.prob)

    def given(self, x: Float[Tensor, "..."], z: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
        return (x * z).mul_(1 / (1 - self.prob))

    def expect(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}"


class DropoutInsertion(Insertion):
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.5
    place: Literal["head", "hidden"] = "head"

    def __call__(self, model: nn.Module) -> Changed:
        insert = drop_before_head if self.place == "head" else drop_after_hidden
        return Changed(*insert(model, lambda: Dropout(self.prob)))
