"""Let any optimizer run ahead for some steps, then go part of the way back.

    every `sync_every` steps:   slow ← slow + alpha (w - slow);   w ← slow

`inner` names the optimizer that runs ahead and `settings` its own settings; lr, weight decay and
scale are those of `inner` unless given here. What is evaluated are the slow weights: `swapped()`
puts them in for the time of a `with`. Helps noisy runs a little; averaging (EMA, SWA) helps more.

Source: Zhang et al. 2019, arXiv:1907.08610. Lecture: Optimization.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.errors import RecipeError
from goodfit.ingredient import Count, find
from goodfit.optim import Optim

_SHARED = ("lr", "weight_decay", "scale", "base_batch", "layer_decay", "head_lr", "decay_all")


class Lookahead(Optim):
    inner: str = "sgd"
    settings: dict[str, Any] = {}  # noqa: RUF012  (frozen with the model; a recipe's sub-table)
    sync_every: Count = 6
    alpha: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5

    @model_validator(mode="before")
    @classmethod
    def _as_inner(cls, given: dict[str, Any]) -> dict[str, Any]:
        kind = given.get("inner", "sgd")
        if kind == "lookahead":
            raise RecipeError("lookahead cannot wrap itself", fix="choose another inner optimizer")
        fields = find(Optim, kind).model_fields
        return {name: fields[name].default for name in ("lr", "weight_decay", "scale")} | given

    @model_validator(mode="after")
    def _settings_fit(self) -> "Lookahead":
        twice = [name for name in self.settings if name in _SHARED]
        if twice:
            raise RecipeError(
                f"{twice[0]} is a setting of lookahead itself",
                at="settings",
                fix=f"write {twice[0]} beside inner, not in settings",
            )
        self.wrapped()
        return self

    def wrapped(self) -> Optim:
        """The inner optimizer's settings."""
        shared = {name: getattr(self, name) for name in _SHARED}
        return find(Optim, self.inner)(**shared, **self.settings)

    def __call__(self, model: nn.Module) -> "SlowAndFast":
        return SlowAndFast(self.wrapped()(model), self.sync_every, self.alpha)


class SlowAndFast(Optimizer):
    """An optimizer around another one. It shares the other's groups, so schedules reach both."""

    def __init__(self, fast: Optimizer, sync_every: int, alpha: float) -> None:
        super().__init__(fast.param_groups, fast.defaults)
        self.fast, self.sync_every, self.alpha = fast, sync_every, alpha
        self.param_groups, self.state = fast.param_groups, fast.state
        self.steps = 0
        self.slow: list[Tensor] = [p.detach().clone() for p in self._weights()]

    def _weights(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self.fast.step(closure) if closure is not None else self.fast.step()
        self.steps += 1
        if self.steps % self.sync_every == 0:
            with torch.no_grad():
                weights = self._weights()
                torch._foreach_lerp_(self.slow, weights, self.alpha)
                torch._foreach_copy_(weights, self.slow)
        return loss

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """For the time of a `with`, the model holds the slow weights."""
        weights = self._weights()
        kept = [p.detach().clone() for p in weights]
        with torch.no_grad():
            torch._foreach_copy_(weights, self.slow)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(weights, kept)

    def state_dict(self) -> dict[str, Any]:
        return {"fast": self.fast.state_dict(), "slow": list(self.slow), "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.fast.load_state_dict(state_dict["fast"])
        self.param_groups, self.state = self.fast.param_groups, self.fast.state
        torch._foreach_copy_(self.slow, state_dict["slow"])
        self.steps = state_dict["steps"]
