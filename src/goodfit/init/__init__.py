"""Initializations: (model) → a report of what was touched and what was not.

They set the weights of linear and convolutional layers, drawn from torch's global generator, and
those layers' biases to zero. Norms keep their ones and zeros. Frozen layers and whatever else has
parameters are left alone, and the report says so: an initialization is never silently not applied.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.ingredient import Ingredient

Weighted = nn.Linear | nn.modules.conv._ConvNd


class Initialized(NamedTuple):
    """Parameter names that were set, and those that were left alone with the reason."""

    touched: tuple[str, ...]
    left: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        reasons = dict.fromkeys(why for _, why in self.left)
        said = (f"; {sum(w == why for _, w in self.left)} left alone: {why}" for why in reasons)
        return f"{len(self.touched)} tensors set{''.join(said)}"


class Init(Ingredient):
    """Base of all initializations. Called with a model, it sets its parameters in place.

    needs_images: whether it must also be given a batch of preprocessed training images.
    """

    noun: ClassVar[str] = "initialization"
    needs_images: ClassVar[bool] = False

    def __call__(self, model: nn.Module, images: Tensor | None = None) -> Initialized:
        raise NotImplementedError


@torch.no_grad()
def each_layer(model: nn.Module, set_layer: Callable[[str, Weighted], None]) -> Initialized:
    """Apply `set_layer` to every weighted layer, zero their biases, and report.

    Raises ModelError when the model has no such layer.
    """
    touched: list[str] = []
    for place, layer in weighted(model):
        if not layer.weight.requires_grad:
            continue
        set_layer(place, layer)
        touched.append(f"{place}.weight".removeprefix("."))
        if layer.bias is not None:
            layer.bias.zero_()
            touched.append(f"{place}.bias".removeprefix("."))
    if not touched:
        raise ModelError(
            "the model has no linear or convolutional layer to initialize",
            at=type(model).__name__,
            fix="remove the initialization, or initialize this model's layers yourself",
        )
    return Initialized(tuple(touched), left_alone(model, touched))


def weighted(model: nn.Module) -> Iterator[tuple[str, Weighted]]:
    """The linear and convolutional layers, in the order in which they were made."""
    for place, module in model.named_modules():
        if isinstance(module, Weighted) and isinstance(module.weight, Tensor):
            if isinstance(module.weight, nn.UninitializedParameter):
                raise ModelError(
                    "a lazy layer has no weight yet",
                    at=place,
                    fix="run one batch through the model first",
                )
            yield place, module


def left_alone(model: nn.Module, touched: list[str]) -> tuple[tuple[str, str], ...]:
    """The parameters not in `touched`, each with the reason."""
    done = set(touched)
    return tuple(
        (full, _reason(module, parameter))
        for place, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if (full := f"{place}.{name}".removeprefix(".")) not in done
    )


def _reason(module: nn.Module, parameter: Tensor) -> str:
    kind = type(module).__name__
    if not parameter.requires_grad:
        return "frozen"
    if "norm" in kind.lower():
        return "norms keep their ones and zeros"
    if isinstance(module, Weighted):
        return "not a layer this initialization changes"
    return f"{kind} initializes its own parameters"


def fans(layer: Weighted) -> tuple[float, float]:
    """(fan_in, fan_out): how many products each output sums up, and each input goes into.

    A convolution has k^2 C_in / groups and k^2 C_out / groups. In a transposed one each output
    receives only every stride-th tap of the kernel.
    """
    shape = layer.weight.shape
    if isinstance(layer, nn.Linear):
        return shape[1], shape[0]
    taps = prod(layer.kernel_size)
    into, out = taps * layer.in_channels / layer.groups, taps * layer.out_channels / layer.groups
    if layer.transposed:
        return max(1.0, into / prod(layer.stride)), out
    return into, out


def draw_with(weight: Tensor, std: float, *, uniform: bool) -> None:
    """Fill with draws of mean 0 and the given standard deviation."""
    if uniform:
        weight.uniform_(-(3**0.5) * std, 3**0.5 * std)
    else:
        weight.normal_(0, std)


def draw_orthogonal(weight: Tensor, layer: Weighted, gain: float) -> None:
    """Rows (or columns, if there are fewer) orthogonal, of length gain; per group."""
    rows = weight.transpose(0, 1) if getattr(layer, "transposed", False) else weight
    groups = 1 if isinstance(layer, nn.Linear) or layer.transposed else layer.groups
    for block in rows.chunk(groups):
        flat = torch.empty(block.flatten(1).shape, dtype=torch.float32, device=weight.device)
        nn.init.orthogonal_(flat, gain)
        block.copy_(flat.view(block.shape))
