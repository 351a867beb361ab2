"""Watch a model run: which modules draw random numbers, what each reads and puts out.

A module is random by itself when a random state moves while its own code runs, not that of its
children; so F.dropout in a forward is found at the smallest module that contains it. Randomness
from elsewhere (a generator of its own, the clock) shows as another answer to the same input.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


class Call(NamedTuple):
    """One call of a module: fingerprints of what it read and put out."""

    name: str
    read: tuple[float, ...]
    put: tuple[float, ...]


class Seen(NamedTuple):
    """One run of a model."""

    drew: tuple[str, ...]  # modules whose own code drew random numbers
    calls: tuple[Call, ...]  # in the order of completion: children before their parents


class Inputs(NamedTuple):
    """Arguments of a module's first call."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def tensors(value: Any) -> list[Tensor]:
    """All floating tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    parts = value.values() if isinstance(value, dict) else value
    return [t for part in parts for t in tensors(part)] if isinstance(value, _NESTED) else []


def cloned(value: Any) -> Any:
    """The same nested structure with detached copies of its tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: cloned(part) for name, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(cloned, value))
    return type(value)(map(cloned, value)) if isinstance(value, list | tuple) else value


_NESTED = (tuple, list, dict)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, also of models that hold results of autograd or generators."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
            elif isinstance(value, torch.Generator):
                memo[id(value)] = value.clone_state()
    return copy.deepcopy(model, memo)


def seeded(seed: int) -> None:
    """Set all global random states."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Whatever is drawn inside, all global random states are restored afterwards."""
    ours, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)


def _states(device: torch.device) -> tuple[Any, ...]:
    """All global random states, comparable."""
    state = np.random.get_state(legacy=False)["state"]
    numpys = (state["key"].tobytes(), state["pos"])
    torchs = torch.get_rng_state().numpy().tobytes()
    cuda = b""
    if device.type == "cuda":
        cuda = torch.cuda.get_rng_state(device).numpy().tobytes()
    return torchs, cuda, numpys, random.getstate()


def watched(model: nn.Module, images: Tensor, seed: int) -> Seen:
    """Run the model once, in whatever mode it is, from this seed."""
    drew: dict[str, None] = {}
    calls: list[Call] = []
    inside, reads = [""], [_fingerprint(images)]
    seeded(seed)
    last = [_states(images.device)]

    def charge() -> None:
        now = _states(images.device)
        if now != last[0]:
            drew[inside[-1]] = None
            last[0] = now

    def enter(name: str, args: Any, kwargs: Any) -> None:
        charge()
        inside.append(name)
        reads.append(_fingerprint((*args, kwargs)))

    def leave(name: str, output: Any) -> None:
        charge()
        inside.pop()
        calls.append(Call(name, reads.pop(), _fingerprint(output)))

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: enter(name, args, kwargs),
                with_kwargs=True,
                prepend=True,
            )
            after = module.register_forward_hook(lambda _, __, out, name=name: leave(name, out))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        model(images)
    return Seen(tuple(drew), tuple(calls))


def captured(model: nn.Module, images: Tensor, names: set[str], seed: int) -> dict[str, Inputs]:
    """Run the model and keep what the named modules read when they are first called."""
    kept: dict[str, Inputs] = {}

    def keep(name: str, args: Any, kwargs: Any) -> None:
        kept.setdefault(name, Inputs(cloned(args), cloned(kwargs)))

    seeded(seed)
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name in names:
                hook = module.register_forward_pre_hook(
                    lambda _, args, kwargs, name=name: keep(name, args, kwargs),
                    with_kwargs=True,
                    prepend=True,
                )
                hooks.callback(hook.remove)
        model(images)
    return kept


def differing(one: Seen, other: Seen, tolerance: float = 1e-4) -> list[str]:
    """Smallest modules that gave different outputs for the same input in two runs."""
    found: list[str] = []
    for a, b in zip(one.calls, other.calls, strict=False):
        if a.name != b.name:
            break
        same_input = _close(a.read, b.read, tolerance / 10)
        if same_input and not _close(a.put, b.put, tolerance) and not _holds(a.name, found):
            found.append(a.name)
    return list(dict.fromkeys(found))


def _holds(name: str, others: list[str]) -> bool:
    return any(other.startswith(f"{name}." if name else "") for other in others)


def _fingerprint(value: Any) -> tuple[float, ...]:
    """Sums that change when a value changes: one pair for each tensor."""
    found = []
    for x in tensors(value):
        flat = x.detach().double().flatten()
        weights = torch.linspace(0.5, 1.5, max(len(flat), 1), device=x.device, dtype=flat.dtype)
        found += [(flat @ weights[: len(flat)]).item(), flat.abs().sum().item()]
    return tuple(found)


def _close(a: tuple[float, ...], b: tuple[float, ...], tolerance: float) -> bool:
    """Equal up to the noise of parallel sums; the even entries are signed, so use the odd ones."""
    if len(a) != len(b):
        return False
    scale = [s for s in a[1::2] for _ in "ab"]
    pairs = zip(a, b, scale, strict=True)
    return all(x == y or abs(x - y) <= tolerance * s for x, y, s in pairs)
