"""Initializations: (model) → a report of what was touched and what was not."""

from typing import ClassVar, NamedTuple

from torch import nn

from goodfit.ingredient import Ingredient


class Initialized(NamedTuple):
    """Parameter names that were set, and those that were left alone with the reason."""

    touched: tuple[str, ...]
    left: tuple[tuple[str, str], ...] = ()


class Init(Ingredient):
    """Base of all initializations. Called with a model, it sets its parameters in place."""

    noun: ClassVar[str] = "initialization"

    def __call__(self, model: nn.Module) -> Initialized:
        raise NotImplementedError
