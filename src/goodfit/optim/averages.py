"""Averages of the weights along a run: EMA and SWA.

    EMA:  e ← d e + (1 - d) w,   d = min(decay, (1 + t) / (10 + t))      after each update t
    SWA:  e ← (t e + w) / (t + 1)                                        at each call t

They are no optimizers and no ingredients: a loop calls `update(model)` and evaluates inside
`with average.swapped(model)`. EMA averages floating buffers (running statistics) like weights;
the others are copied. SWA copies all buffers, and since averaged weights have other statistics,
batch norm must be recomputed: `settle(model, batches)`; `swapped` insists on it. The ramp of d
lets EMA forget the random weights of the beginning. At test time the averages are used.

Source: Polyak & Juditsky 1992 (EMA); Izmailov et al. 2018, arXiv:1803.05407 (SWA).
Lecture: Model ensembles, averages of one run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from goodfit.errors import ModelError, RecipeError, RunError


class WeightAverage:
    """A running average of a model's weights, by name, in at least float32."""

    averages_buffers = True

    def __init__(self) -> None:
        self.count = 0
        self.average: dict[str, Tensor] = {}

    def share(self) -> float:
        """How much the newest weights count, from the second update on."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present weights in."""
        now = tensors_of(model)
        if not self.average:
            self.average = {name: _copied(t) for name, t in now.items()}
        else:
            self._same(now)
            parameters = {_plain(name) for name, _ in model.named_parameters()}
            mixed = [
                name
                for name, t in now.items()
                if t.is_floating_point() and (self.averages_buffers or name in parameters)
            ]
            mine = [self.average[name] for name in mixed]
            theirs = [now[name].to(e.dtype) for name, e in zip(mixed, mine, strict=True)]
            torch._foreach_lerp_(mine, theirs, self.share())
            for name in now.keys() - set(mixed):
                self.average[name].copy_(now[name])
        self.count += 1

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """For the time of a `with`, the model holds the average."""
        kept = {name: t.detach().clone() for name, t in tensors_of(model).items()}
        self.apply_to(model)
        try:
            yield
        finally:
            _put(model, kept)

    def apply_to(self, model: nn.Module) -> None:
        """Put the average into the model for good. Before the first update, nothing is done."""
        if self.average:
            self._same(tensors_of(model))
            _put(model, self.average)

    def _same(self, now: dict[str, Tensor]) -> None:
        if now.keys() != self.average.keys():
            raise RunError(
                "the average belongs to another model",
                missing=", ".join(sorted(self.average.keys() - now.keys())[:3]) or "nothing",
                unknown=", ".join(sorted(now.keys() - self.average.keys())[:3]) or "nothing",
                fix="build the model as it was when the averaging began",
            )

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "average": dict(self.average)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = int(state["count"])
        self.average = {name: t.clone() for name, t in state["average"].items()}

    def to(self, device: torch.device | str) -> Self:
        """The same object, with its tensors on another device."""
        self.average = {name: t.to(device) for name, t in self.average.items()}
        return self


class EMA(WeightAverage):
    """Exponential average; `ramp` lowers the decay while there have been few updates."""

    def __init__(self, decay: float = 0.999, *, ramp: bool = True) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise RecipeError(
                f"ema cannot have decay = {decay}", fix="choose one from 0 to below 1"
            )
        self.decay, self.ramp = decay, ramp

    def share(self) -> float:
        ramped = (1 + self.count) / (10 + self.count) if self.ramp else 1.0
        return 1 - min(self.decay, ramped)


class SWA(WeightAverage):
    """Equal average of the weights at each call; batch norm recomputed by `settle`."""

    averages_buffers = False

    def __init__(self) -> None:
        super().__init__()
        self.settled = False

    def share(self) -> float:
        return 1 / (self.count + 1)

    def update(self, model: nn.Module) -> None:
        super().update(model)
        self.settled = False

    def settle(self, model: nn.Module, batches: Iterable[Tensor]) -> None:
        """Recompute batch norm's statistics for the average and keep them in it."""
        with super().swapped(model):
            recompute_batch_norm(model, batches)
            self.average = {name: _copied(t) for name, t in tensors_of(model).items()}
        self.settled = True

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        if not self.settled and self.average and _batch_norms(model):
            raise ModelError(
                "the averaged weights have no batch norm statistics of their own yet",
                at=type(model).__name__,
                fix="call settle(model, batches) with training batches first",
            )
        with super().swapped(model):
            yield

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"settled": self.settled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.settled = bool(state["settled"])


@torch.no_grad()
def recompute_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Set batch norm's running statistics to the plain mean over `batches`; how many were seen.

    Each batch is a tensor that the model takes. Everything else runs as in evaluation, so dropout
    does not disturb the statistics. Without batch norm nothing is run.
    """
    norms = _batch_norms(model)
    if not norms:
        return 0
    modes = {module: module.training for module in model.modules()}
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the cumulative mean
        norm.train()
    seen = 0
    try:
        for images in batches:
            model(images)
            seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes.items():
            module.training = training
    if not seen:
        raise ModelError(
            "batch norm cannot be recomputed from no batches", fix="give training batches"
        )
    return seen


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers by name, as if the model were neither compiled nor wrapped."""
    return {_plain(name): t for name, t in model.state_dict().items() if isinstance(t, Tensor)}


def _plain(name: str) -> str:
    return name.replace("_orig_mod.", "").removeprefix("module.")


def _copied(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.float() if copy.dtype in (torch.float16, torch.bfloat16) else copy


@torch.no_grad()
def _put(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, tensor in tensors_of(model).items():
        tensor.copy_(values[name])


def _batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    kind = nn.modules.batchnorm._BatchNorm
    return [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]
