"""Penalties: (model) → a scalar added to the loss.

They act on weights: norms, biases, PReLU slopes and other vectors are left alone unless
`penalize_all` is set, as weight decay leaves them alone.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.ingredient import Ingredient, NonNegative

_MATRICES = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear)
Strength = NonNegative

__all__ = ["NonNegative", "Penalty", "Strength", "norms", "weights_of"]


class Penalty(Ingredient):
    """Base of all penalties."""

    noun: ClassVar[str] = "penalty"
    penalize_all: bool = False  # norms and biases too

    def __call__(self, model: nn.Module) -> Tensor:
        raise NotImplementedError


def weights_of(model: nn.Module, *, everything: bool = False) -> list[Tensor]:
    """The trainable parameters that a penalty acts on. Raises ModelError when there are none."""
    found = {
        id(parameter): parameter
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad and (everything or _is_weight(module, name, parameter))
    }
    if not found:
        raise ModelError(
            "the model has no weights to penalize",
            at=type(model).__name__,
            parameters=sum(1 for _ in model.parameters()),
            fix="remove the penalty, unfreeze a layer, or set penalize_all = true",
        )
    return list(found.values())


def _is_weight(module: nn.Module, name: str, parameter: Tensor) -> bool:
    if "norm" in type(module).__name__.lower() or isinstance(module, nn.PReLU):
        return False
    if name == "bias" or name.endswith("_bias") or parameter.ndim < 2:
        return False
    return isinstance(module, _MATRICES) or parameter.numel() > max(parameter.shape)


def norms(weights: list[Tensor], order: int) -> Tensor:
    """sum |w| (order 1) or sum w^2 (order 2) over all tensors."""
    each = torch.stack([torch.linalg.vector_norm(w, order, dtype=torch.float32) for w in weights])
    return each.sum() if order == 1 else each.square().sum()
