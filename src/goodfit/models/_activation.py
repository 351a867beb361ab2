"""The activation of our own models, by the name of its file on the shelf `layers`."""

from typing import Annotated, Any

from pydantic import AfterValidator
from torch import nn

from goodfit.errors import RecipeError
from goodfit.ingredient import find
from goodfit.layers._base import Activation


def _known(name: str) -> str:
    find(Activation, name)
    return name


def beside_batch_norm(name: str) -> str:
    """`name`, if it goes with batch norm. Raises RecipeError for SELU."""
    if name == "selu":
        raise RecipeError(
            "SELU normalizes by itself; batch norm beside it undoes that",
            activation=name,
            fix='write "elu"; or take `mlp`, or `cnn` with norm = false, with init `lecun`',
        )
    return name


ActivationName = Annotated[str, AfterValidator(_known)]  # "relu", "gelu", "leaky-relu", ...
NormedActivationName = Annotated[ActivationName, AfterValidator(beside_batch_norm)]


def activation(name: str, **settings: Any) -> nn.Module:
    """A new module of the activation called `name`."""
    return find(Activation, name)(**settings).module()
