"""The pieces of a training program, clones of them to work on, and the promise to leave no trace.

Probes train, break and rescale what they get, so they get clones: the model, with the optimizer
and the loss pointed at the clone's parameters. Whatever still reaches the original (a loss that
holds it in a global, say) is put back afterwards, bit for bit.
"""

import copy
import inspect
import random
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

Memo = dict[int, Any]


@dataclass(frozen=True)
class Part:
    """Batches of one side (train or val), as they were delivered."""

    batches: list[tuple[Any, Any]]
    complete: bool = False  # the whole iterable was seen
    draws: bool = False  # the order draws samples with replacement

    @property
    def images(self) -> int:
        return sum(len(x) for x, _ in self.batches)


@dataclass
class Program:
    """What the user trains. Never used up: ask for a `clone`."""

    model: nn.Module
    train: Part
    val: Part | None = None
    loss: Callable[[Any, Any], Any] | None = None
    optimizer: Optimizer | None = None
    schedule: Any = None
    steps: int | None = None
    logits: Callable[[Any], Tensor] | None = None
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def clone(self) -> "Clone":
        """The same program on parameters of its own."""
        memo: Memo = {}
        with copyable_tensors():
            model = copy.deepcopy(self.model, memo)
            optimizer = _optimizer(self.optimizer, memo) if self.optimizer is not None else None
            for module in model.modules():
                _rebind_functions(module, memo)
            loss = _loss(self.loss, memo) if self.loss is not None else None
            logits = _loss(self.logits, memo) if self.logits is not None else None
        model.to(self.device)
        return Clone(model, loss, optimizer, logits)

    def places(self) -> dict[int, str]:
        """Names of the original's parameters by identity."""
        return {id(p): name for name, p in self.model.named_parameters(remove_duplicate=False)}


def called(model: nn.Module, x: Any) -> Any:
    """model(x); a dict as keywords where `forward` has parameters of these names."""
    if not isinstance(x, dict) or not all(isinstance(key, str) for key in x):
        return model(x)
    try:
        inspect.signature(model.forward).bind(**x)
    except TypeError:
        return model(x)
    return model(**x)


@dataclass
class Clone:
    """A copy of the program that may be trained, broken and thrown away."""

    model: nn.Module
    _loss: Callable[[Any, Any], Any] | None
    optimizer: Optimizer | None
    _logits: Callable[[Any], Tensor] | None
    _picks: bool = False  # the loss wants the picked logits, not the whole output

    def forward(self, x: Any) -> Any:
        """The model's whole output."""
        return called(self.model, x)

    def pick(self, output: Any) -> Tensor:
        """The logits in a model's output."""
        if self._logits is not None:
            return self._logits(output)
        return picked(output)

    def scores(self, x: Any) -> Tensor:
        """The logits of a batch."""
        return self.pick(self.forward(x))

    def loss(self, output: Any, y: Any) -> Tensor:
        """The user's loss of a whole output; cross-entropy on the logits when there is none."""
        if self._loss is None:
            return cross_entropy(self.pick(output), y)
        if self._picks:
            return self._loss(self.pick(output), y)  # type: ignore[no-any-return]
        try:
            return self._loss(output, y)  # type: ignore[no-any-return]
        except (TypeError, AttributeError):
            if isinstance(output, Tensor):
                raise
            value = self._loss(self.pick(output), y)
            self._picks = True
            return value  # type: ignore[no-any-return]

    def stands(self, output: Any) -> bool:
        """Whether scores put in the place of an output's are what the loss looks at."""
        if self._loss is None or self._picks:
            return True
        scores = self.pick(output)
        if isinstance(output, Tensor):
            return scores.shape == output.shape and torch.equal(scores, output)
        mark = torch.zeros(0)
        return any(part is mark for part in _parts(_with(output, scores, mark)))

    def loss_of_scores(self, scores: Tensor, y: Any, like: Any = None) -> Tensor:
        """The loss as a function of the logits alone, other outputs as in `like`."""
        if self._loss is None:
            return cross_entropy(scores, y)
        if like is None or isinstance(like, Tensor) or self._picks:
            return self._loss(scores, y)  # type: ignore[no-any-return]
        return self._loss(_with(like, self.pick(like), scores), y)  # type: ignore[no-any-return]


def cross_entropy(scores: Tensor, y: Any) -> Tensor:
    """Cross-entropy on logits; one column is taken as a binary logit."""
    if scores.ndim >= 2 and scores.shape[1] == 1 and y.is_floating_point():
        return F.binary_cross_entropy_with_logits(scores.flatten(), y.flatten())
    return F.cross_entropy(scores, y)


def picked(output: Any) -> Tensor:
    """The logits in a tensor, a tuple, a dict or a record."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named = [output[key] for key in ("logits", "out", "output", "scores") if key in output]
        return picked(named[0] if named else next(iter(output.values())))
    if isinstance(output, (tuple, list)):
        return picked(output[0])
    if hasattr(output, "logits"):
        return picked(output.logits)
    raise TypeError(
        f"the model returns {type(output).__name__}; pass `logits`, which picks the scores"
    )


def _parts(output: Any) -> Iterator[Any]:
    """Everything in nested mappings, tuples and lists."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        for part in output:
            yield from _parts(part)
    else:
        yield output


def _with(output: Any, old: Tensor, new: Tensor) -> Any:
    """`output` with the tensor `old` replaced by `new`."""
    if output is old:
        return new
    if isinstance(output, Mapping):
        return {key: _with(value, old, new) for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*(_with(value, old, new) for value in output))
    if isinstance(output, (tuple, list)):
        return type(output)(_with(value, old, new) for value in output)
    return output


@contextmanager
def copyable_tensors() -> Iterator[None]:
    """Let deepcopy copy tensors that were computed (stored by some layers); they are detached."""
    original = Tensor.__deepcopy__

    def copied(tensor: Tensor, memo: Memo) -> Tensor:
        if tensor.is_leaf:
            return original(tensor, memo)  # type: ignore[no-any-return, no-untyped-call]
        memo[id(tensor)] = fresh = tensor.detach().clone()
        return fresh

    Tensor.__deepcopy__ = copied  # type: ignore[method-assign]
    try:
        yield
    finally:
        Tensor.__deepcopy__ = original  # type: ignore[method-assign]


def _optimizer(optimizer: Optimizer, memo: Memo) -> Optimizer:
    """A copy on the clone's parameters. Not by pickling rules: those drop what some keep aside."""
    fresh = object.__new__(type(optimizer))
    memo[id(optimizer)] = fresh
    for name, value in vars(optimizer).items():
        if name == "step" or name.endswith("_hooks"):  # a scheduler's counter, the user's hooks
            continue
        fresh.__dict__[name] = copy.deepcopy(value, memo)
    for name, value in vars(optimizer).items():
        if name.endswith("_hooks"):
            fresh.__dict__[name] = type(value)()
    return fresh


def _loss(loss: Callable[..., Any], memo: Memo) -> Callable[..., Any]:
    """A loss, or what picks the logits, on the clone's own weights."""
    if isinstance(loss, types.FunctionType):
        return _rebound(loss, memo)
    if isinstance(loss, types.MethodType):
        return types.MethodType(loss.__func__, copy.deepcopy(loss.__self__, memo))
    try:
        fresh = copy.deepcopy(loss, memo)
    except Exception:
        return loss
    if isinstance(fresh, nn.Module):
        for module in fresh.modules():
            _rebind_functions(module, memo)
    return fresh


def _rebind_functions(module: nn.Module, memo: Memo) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, types.FunctionType):
            module.__dict__[name] = _rebound(value, memo)


def _rebound(function: types.FunctionType, memo: Memo, depth: int = 0) -> types.FunctionType:
    """The function with the originals in its closure and globals replaced by their copies."""

    def swapped(value: Any) -> Any:
        if id(value) in memo and isinstance(value, (nn.Module, Tensor, Optimizer)):
            return memo[id(value)]
        if isinstance(value, (list, tuple)) and any(id(v) in memo for v in value):
            return type(value)(swapped(v) for v in value) if type(value) in (list, tuple) else value
        if (
            isinstance(value, dict)
            and len(value) < 100
            and any(id(v) in memo for v in value.values())
        ):
            return {key: swapped(v) for key, v in value.items()}
        if isinstance(value, types.FunctionType) and depth < 3 and value is not function:
            return _rebound(value, memo, depth + 1)
        return value

    def content(cell: types.CellType) -> types.CellType:
        try:
            old = cell.cell_contents
        except ValueError:
            return cell
        new = swapped(old)
        return cell if new is old else types.CellType(new)

    closure = tuple(content(cell) for cell in function.__closure__ or ())
    changed = any(a is not b for a, b in zip(closure, function.__closure__ or (), strict=True))
    used = {
        n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__
    }
    new_globals = {
        n: fresh
        for n, v in used.items()
        if (
            isinstance(v, (nn.Module, Tensor, Optimizer))
            or (
                depth < 3
                and isinstance(v, types.FunctionType)
                and v is not function
                and v.__module__ == function.__module__
            )
        )
        and (fresh := swapped(v)) is not v
    }
    if not changed and not new_globals:
        return function
    scope = {**function.__globals__, **new_globals} if new_globals else function.__globals__
    copied = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, closure
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Run under the global seeds of `seed`; put all global generators back afterwards."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        reseed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def reseed(seed: int) -> None:
    """Seed every global generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
