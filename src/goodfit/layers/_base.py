"""The bases of random layers, of activations and of whatever else is put into a model."""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from goodfit.errors import RecipeError
from goodfit.ingredient import Ingredient
from goodfit.layers._swap import swap


class StochasticLayer(nn.Module):
    """A layer y = f(x, z): in training z is drawn, in evaluation it is averaged out.

    Subclasses give `draw(x) → z`, `given(x, z) → y` (deterministic) and `expect(x) → y`.
    This class holds the only `if self.training` of all random layers.
    """

    def draw(self, x: Tensor) -> Any:
        """z for this input, from torch's global generator of its device."""
        raise NotImplementedError

    def given(self, x: Tensor, z: Any) -> Tensor:
        """The output under a given z."""
        raise NotImplementedError

    def expect(self, x: Tensor) -> Tensor:
        """The average over z, or the approximation of it that testing uses."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.given(x, self.draw(x)) if self.training else self.expect(x)


def checked_prob(layer: str, prob: float) -> float:
    """`prob` as the probability to drop, at least 0 and below 1. Raises RecipeError."""
    if not 0 <= prob < 1:
        raise RecipeError(
            f"{layer} cannot have prob = {prob!r}",
            wanted="a probability to drop of at least 0 and below 1",
            fix="choose another value for `prob`; it says how much is dropped, not kept",
        )
    return float(prob)


def kept(x: Tensor, prob: float) -> Tensor:
    """A mask like `x`, each value true with probability 1 - prob.

    On the CPU by comparing uniform numbers, which takes a fifth of the time of bernoulli_.
    """
    if x.device.type == "cpu":
        return torch.rand_like(x, dtype=torch.float32) >= prob
    return torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - prob)


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


class Activation(Insertion):
    """Base of the activations: `module()` builds one, a call swaps all hidden ones of a model.

    Gates (the sigmoid of squeeze-and-excitation), the model's output and nonlinearities that
    are called as functions are left alone and reported.
    """

    noun: ClassVar[str] = "activation"

    def module(self) -> nn.Module:
        """A new module that computes this activation."""
        raise NotImplementedError

    def __call__(self, model: nn.Module) -> Changed:
        return Changed(*swap(model, self.module))
