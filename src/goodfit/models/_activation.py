"""The activation of our own models, by the name of its file on the shelf `layers`."""

from typing import Annotated, Any

from pydantic import AfterValidator
from torch import nn

from goodfit.ingredient import find
from goodfit.layers._base import Activation


def _known(name: str) -> str:
    find(Activation, name)
    return name


ActivationName = Annotated[str, AfterValidator(_known)]  # "relu", "gelu", "leaky-relu", ...


def activation(name: str, **settings: Any) -> nn.Module:
    """A new module of the activation called `name`."""
    return find(Activation, name)(**settings).module()
