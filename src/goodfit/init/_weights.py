"""The base of the initializations that draw each layer's weight by itself."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from goodfit.init import Init, Initialized, Weighted, each_layer, weighted
from goodfit.init._graph import Following


class WeightInit(Init):
    """Base: a subclass says how one layer's weight is set."""

    head: Literal["same", "zero"] = "same"  # zero: all classes equally likely at first

    def fill(self, weight: Tensor, layer: Weighted, gain: Callable[[], float]) -> None:
        """Set one weight. `gain` finds out which activation follows, and is slow the first time."""
        raise NotImplementedError

    def __call__(self, model: nn.Module, images: Tensor | None = None) -> Initialized:
        following = Following(model)
        head = next(reversed([place for place, _ in weighted(model)]), None)

        def set_layer(place: str, layer: Weighted) -> None:
            if self.head == "zero" and place == head:
                layer.weight.zero_()
            else:
                self.fill(layer.weight, layer, lambda: following.gain(place))

        return each_layer(model, set_layer)
