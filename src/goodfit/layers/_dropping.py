"""What the dropouts of single values share: the mask, and the places where they are put."""

from typing import Annotated, ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from goodfit.ingredient import kind_of
from goodfit.layers._attach import drop_after_hidden, drop_before_head
from goodfit.layers._base import Changed, Insertion, StochasticLayer, checked_prob, kept


class Dropping(StochasticLayer):
    """Base of layers that keep each value with probability 1 - prob; z is the mask of the kept."""

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = checked_prob(kind_of(type(self)), prob)

    def draw(self, x: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        return kept(x, self.prob)

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}"


class DroppingInsertion(Insertion):
    """Base of their ingredients: one before the head, or one after every hidden activation."""

    layer: ClassVar[type[Dropping]]
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.5
    place: Literal["head", "hidden"] = "head"

    def __call__(self, model: nn.Module) -> Changed:
        insert = drop_before_head if self.place == "head" else drop_after_hidden
        return Changed(*insert(model, lambda: self.layer(self.prob)))
