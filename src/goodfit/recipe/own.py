"""The user's own callables in a recipe: any of the right shape serves, without our base classes.

A class that is not an ingredient is made with the recipe's settings and then called; a function
is called with them as keywords. For a model, the class or function is also given `classes` and
`channels` where it has such parameters.
"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import nn

from goodfit.errors import RecipeError


class Own(BaseModel):
    """A foreign callable with its settings, for any section of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    marginal: ClassVar[str] = "identity"
    kind: str
    target: Callable[..., Any]
    settings: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The kind as the recipe writes it."""
        return self.kind

    def __call__(self, *args: Any) -> Any:
        """What the target gives: see the module's page."""
        if self._is_model():
            return self._model(*args)
        if inspect.isclass(self.target):
            return self._made(self.settings)(*args)
        return self.target(*args, **self.settings)

    def _is_model(self) -> bool:
        return (
            inspect.isclass(self.target)
            and issubclass(self.target, nn.Module)
            and not (
                "forward" in vars(self.target)
                and len(inspect.signature(self.target.forward).parameters) > 2
            )
        )

    def _model(self, classes: int, channels: int = 3) -> Any:
        known = inspect.signature(self.target).parameters
        offered = {"classes": classes, "num_classes": classes, "channels": channels}
        return self._made({k: v for k, v in offered.items() if k in known} | self.settings)

    def _made(self, settings: dict[str, Any]) -> Any:
        try:
            inspect.signature(self.target).bind(**settings)
        except TypeError as error:
            raise RecipeError(
                f"{self.kind} cannot be called with these settings",
                at=self.kind,
                seen=error,
                fix=f"its signature is {inspect.signature(self.target)}",
            ) from None
        return self.target(**settings)
