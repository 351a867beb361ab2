"""Take the largest of several affine maps: an activation that is learned.

    f(x) = max over j of (W_j x + b_j),   j = 1 .. pieces

At test time it is the same function; nothing is random.

Linear regime everywhere, no saturation, no dead units; ReLU and Leaky ReLU are special cases.
The price is `pieces` times the parameters and work. It is layer and activation in one and changes
widths, so it cannot be swapped into a finished model: build with `MaxoutLinear` and
`MaxoutConv2d`, or choose `activation = "maxout"` in our own MLP or CNN.

Source: Goodfellow et al. 2013, arXiv:1302.4389. Lecture: Activation Functions, Maxout.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import Count
from goodfit.layers._base import Activation, Changed


class MaxoutLinear(nn.Module):
    """The largest of `pieces` linear layers, computed as one wide layer."""

    def __init__(self, inputs: int, outputs: int, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = _checked(pieces)
        self.linear = nn.Linear(inputs, outputs * pieces)

    def forward(self, x: Float[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:
        return _largest(self.linear(x), self.pieces, dim=-1)


class MaxoutConv2d(nn.Module):
    """The largest of `pieces` convolutions, computed as one wide convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        pieces: int = 2,
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.pieces = _checked(pieces)
        self.conv = nn.Conv2d(inputs, outputs * pieces, kernel, stride=stride, padding=padding)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o hh ww"]:
        return _largest(self.conv(x), self.pieces, dim=1)


def _largest(x: Tensor, pieces: int, dim: int) -> Tensor:
    """The largest of the `pieces` equal blocks along `dim`."""
    first, *rest = x.chunk(pieces, dim)
    for piece in rest:
        first = torch.maximum(first, piece)
    return first


def _checked(pieces: int) -> int:
    if pieces < 1:
        raise RecipeError(
            f"maxout cannot have pieces = {pieces}",
            wanted="at least one affine map",
            fix="choose another value for `pieces`; 2 and 4 are usual",
        )
    return pieces


class Maxout(Activation):
    pieces: Count = 2

    def module(self) -> nn.Module:
        raise self._refusal("maxout is no activation by itself: it needs its inputs' weights")

    def __call__(self, model: nn.Module) -> Changed:
        raise self._refusal(f"maxout cannot be swapped into {type(model).__name__}")

    def _refusal(self, problem: str) -> ModelError:
        return ModelError(
            problem,
            reason=f"it takes the largest of {self.pieces} affine maps, so the layers before it "
            "must be wider and the weights cannot be kept",
            fix="build the model with MaxoutLinear and MaxoutConv2d of goodfit.layers.maxout, or "
            'choose our own MLP or CNN with activation = "maxout"',
        )
