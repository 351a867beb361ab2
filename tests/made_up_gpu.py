"""A GPU that is made up, for machines without one: it computes on the CPU and mixes with nothing.

Inside `with made_up_gpu() as waits`, the device "lazy", a name that torch knows and nobody here
uses, holds tensors of its own. An operation on tensors of two devices raises what torch raises;
what asks for a value, for which a real GPU would have to be waited for, is noted in `waits`; and
memory cannot be looked into. What a real GPU alone can show stays untested: its own kernels, its
speed, compiled code, and operations that change a tensor's shape in place.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before anything is replaced
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "lazy"
_CROSSING = {"_to_copy", "copy_", "_foreach_copy_"}  # operations that go from device to device
_INDEXING = {"index", "index_put_", "index_put", "_index_put_impl_"}  # take indices from the CPU
_WAITING = {"_local_scalar_dense", "nonzero", "equal", "masked_select"}
_waits: list[str] = []


class There(Tensor):
    """A tensor on the made-up device: a wrapper around its values."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "There":
        made: There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
            requires_grad=values.requires_grad,
        )
        made.values = values
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"There({self.values})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = There(self.values.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def tolist(self) -> Any:
        _waits.append("tolist")
        return self.values.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert a tensor on {NAME} to numpy: use Tensor.cpu() first")


class _Everything(TorchDispatchMode):
    """Sees what no tensor of the made-up device takes part in: factories, and copies to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    name = func.__name__.split(".")[0]
    there = [x for x in tree_leaves((args, kwargs)) if isinstance(x, There)]
    _refuse_mixtures(name, there, args, kwargs)
    if name in _WAITING and there:
        _waits.append(name)
    asked = kwargs.get("device")
    goes = bool(there) if asked is None else torch.device(asked).type == NAME
    if name in _CROSSING and asked is None:
        goes = isinstance(tree_leaves(args[0])[0], There)
    settings = dict(kwargs)
    if asked is not None and goes:
        settings["device"] = torch.device("cpu")
    out = func(*tree_map(_values, args), **tree_map(_values, settings))
    if not goes:
        return out
    known = {id(x.values): x for x in there}  # in-place operations return what they were given
    if any(x.shape != x.values.shape or x.stride() != x.values.stride() for x in there):
        raise NotImplementedError(f"{func} on the made-up GPU")
    return tree_map(lambda x: known.get(id(x), There(x)) if isinstance(x, Tensor) else x, out)


def _values(x: Any) -> Any:
    return x.values if isinstance(x, There) else x


def _refuse_mixtures(name: str, there: list[There], args: Any, kwargs: Any) -> None:
    """Tensors of the CPU beside those of the made-up device; a single number may be anywhere."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.ndim]
    here = [x for x in tensors if not isinstance(x, There)]
    if name in _INDEXING and isinstance(args[0], There):
        indices = {id(x) for x in tree_leaves(args[1])}
        if any(id(x) in indices for x in here):
            _waits.append("index")  # it is sent first, and waited for
        here = [x for x in here if id(x) not in indices]
    if there and here and name not in _CROSSING:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and cpu! (in {name})"
        )


@contextmanager
def made_up_gpu() -> Iterator[list[str]]:
    """For the time of a `with`, the device is there; gives the list of what waited for it."""
    plain = torch.autocast

    def autocast(device: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device == NAME else plain(device, *args, **kwargs)

    def stays(input: Tensor, from_: Tensor) -> bool:  # noqa: A002  # the parameter, with new values
        alike = (input.device, input.dtype) == (from_.device, from_.dtype)
        return alike and input.stride() == from_.stride()

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch, "autocast", autocast))
        stack.enter_context(mock.patch.object(torch, "_has_compatible_shallow_copy_type", stays))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(_Everything())
        _waits.clear()
        yield _waits
