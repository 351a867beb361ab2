"""The base of random layers, and of the ingredients that put layers into a model."""

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from goodfit.ingredient import Ingredient


class StochasticLayer(nn.Module):
    """A layer y = f(x, z): in training z is drawn, in evaluation it is averaged out.

    Subclasses give `draw(x) → z`, `given(x, z) → y` (deterministic) and `expect(x) → y`.
    This class holds the only `if self.training` of all random layers.
    """

    def draw(self, x: Tensor) -> Any:
        """z for this input, from torch's global generator."""
        raise NotImplementedError

    def given(self, x: Tensor, z: Any) -> Tensor:
        """The output under a given z."""
        raise NotImplementedError

    def expect(self, x: Tensor) -> Tensor:
        """The average over z, or the approximation of it that testing uses."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.given(x, self.draw(x)) if self.training else self.expect(x)


class Changed(NamedTuple):
    """What an insertion did: where layers were put, and where it could not and why."""

    places: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        said = f"{len(self.places)} places changed"
        return said + "".join(f"; {where} left alone: {why}" for where, why in self.refused)


class Insertion(Ingredient):
    """Base of the ingredients that change layers of any nn.Module in place.

    Called with a model it changes the model and reports where. It raises ModelError when the
    model has no place for it, rather than doing nothing in silence.
    """

    noun: ClassVar[str] = "layer"

    def __call__(self, model: nn.Module) -> Changed:
        raise NotImplementedError
