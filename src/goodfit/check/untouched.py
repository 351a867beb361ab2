"""Put everything back: parameters, buffers, gradients, modes, hooks, optimizer, loaders' state.

Probes work on clones, but a loss may hold the original, a loader may advance its epoch and its
generator, and a program may raise half way. So what could change is noted first and restored at
the end, bit for bit, whatever happens between.
"""

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Undo = Callable[[], None]
PLAIN = (bool, int, float, str, type(None), tuple)


@contextmanager
def untouched(model: nn.Module, optimizer: Optimizer | None, *others: Any) -> Iterator[None]:
    """Restore the model, the optimizer and the simple state of loaders and loss at the end."""
    undo: list[Undo] = []
    for module in dict.fromkeys([*model.modules(), *_modules(others)]):
        undo += _module(module)
    tensors = [*model.parameters(), *model.buffers()]
    for other in _modules(others):
        tensors += [*other.parameters(), *other.buffers()]
    if optimizer is not None:
        tensors += [p for group in optimizer.param_groups for p in group["params"]]
        undo += _optimizer(optimizer)
    for tensor in {id(t): t for t in tensors}.values():
        undo.append(_tensor(tensor))
    for other in others:
        undo += _state(other)
    try:
        yield
    finally:
        with ExitStack() as stack:  # each one runs even when another fails
            for step in undo:
                stack.callback(step)


def _modules(others: tuple[Any, ...]) -> list[nn.Module]:
    return [m for other in others if isinstance(other, nn.Module) for m in other.modules()]


def _tensor(tensor: Tensor) -> Undo:
    data, grad = tensor.detach().clone(), tensor.grad
    kept = None if grad is None else grad.detach().clone()
    wanted = tensor.requires_grad

    def restore() -> None:
        with torch.no_grad():
            if not _same(tensor, data):
                tensor.data.copy_(data)
            if grad is not None and kept is not None and not _same(grad, kept):
                grad.data.copy_(kept)
        tensor.grad = grad
        if tensor.is_leaf and tensor.requires_grad != wanted:
            tensor.requires_grad_(wanted)

    return restore


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.detach(), b) and not (a.is_floating_point() and bool(a.isnan().any()))


def _module(module: nn.Module) -> list[Undo]:
    mode = module.training
    tables = {
        name: (table, dict(table))
        for name, table in vars(module).items()
        if isinstance(table, dict) and name.startswith("_")
    }
    plain = {n: v for n, v in vars(module).items() if isinstance(v, PLAIN) and n != "training"}

    def restore() -> None:
        module.training = mode
        for table, was in tables.values():
            if list(table.items()) != list(was.items()) if _cheap(was) else True:
                table.clear()
                table.update(was)
        for name, value in plain.items():
            if module.__dict__.get(name) is not value:
                module.__dict__[name] = value

    return [restore]


def _cheap(table: dict[str, Any]) -> bool:
    return not any(isinstance(value, Tensor) for value in table.values())


def _optimizer(optimizer: Optimizer) -> list[Undo]:
    params = {id(p) for group in optimizer.param_groups for p in group["params"]}
    state = {p: copy.deepcopy(values) for p, values in optimizer.state.items()}
    groups = [
        {name: list(v) if name == "params" else copy.deepcopy(v) for name, v in group.items()}
        for group in optimizer.param_groups
    ]
    held = list(optimizer.param_groups)

    def restore() -> None:
        for p in [p for p in optimizer.state if p not in state]:
            del optimizer.state[p]
        for p, was in state.items():
            now = optimizer.state[p]
            if isinstance(now, dict) and isinstance(was, dict):
                for name, value in was.items():
                    if isinstance(value, Tensor) and isinstance(now.get(name), Tensor):
                        if not torch.equal(now[name], value):
                            now[name].data.copy_(value)
                    else:
                        now[name] = value
        optimizer.param_groups[:] = held
        for group, saved in zip(held, groups, strict=True):
            for name, value in saved.items():
                if name == "params":
                    group["params"][:] = value
                elif not (isinstance(value, Tensor) and torch.equal(group[name], value)):
                    group[name] = value

    return [restore] if params else []


def _state(thing: Any, depth: int = 0) -> list[Undo]:
    """Plain attributes and generators of a loader, its samplers and its data set."""
    undo: list[Undo] = []
    if thing is None or isinstance(thing, (nn.Module, Tensor, Optimizer, list, tuple, dict)):
        return undo
    found = getattr(thing, "__dict__", None)
    if not isinstance(found, dict):
        return undo
    plain = {name: value for name, value in found.items() if isinstance(value, PLAIN)}
    names = set(found)

    def restore() -> None:
        for name in [n for n in found if n not in names and isinstance(found[n], PLAIN)]:
            del found[name]
        found.update({n: v for n, v in plain.items() if found.get(n) is not v})

    undo.append(restore)
    for value in found.values():
        if isinstance(value, torch.Generator):
            undo.append(_torch(value))
        elif isinstance(value, np.random.Generator):
            undo.append(_numpy(value))
        elif isinstance(value, random.Random):
            undo.append(partial(value.setstate, value.getstate()))
        elif depth < 4 and not callable(value) and hasattr(value, "__dict__"):
            undo += _state(value, depth + 1)
    return undo


def _torch(generator: torch.Generator) -> Undo:
    was = generator.get_state()

    def restore() -> None:
        generator.set_state(was)

    return restore


def _numpy(generator: np.random.Generator) -> Undo:
    was = copy.deepcopy(generator.bit_generator.state)

    def restore() -> None:
        generator.bit_generator.state = was

    return restore
