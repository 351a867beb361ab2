"""Find the hidden nonlinearities of any model and put others in their places.

Hidden means: a module that acts on what the next layer reads. Left alone are gates, whose output
multiplies another tensor, the model's own output, and functions: F.relu in a forward cannot be
reached from outside.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import nn

from goodfit.errors import ModelError

_TORCH = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU),
    *(nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.Tanh),
    *(nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid),
)
_TIMM = "timm.layers.activations"  # its own classes, found without importing timm
_FUNCTIONS = frozenset(
    {
        *("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "elu", "elu_"),
        *("selu", "selu_", "celu", "celu_", "gelu", "silu", "silu_", "mish", "hardswish"),
        *("hardtanh", "softplus", "tanh", "tanh_"),
    }
)


class Hidden(NamedTuple):
    """The hidden nonlinearities of a model, and what looks like one but is not or cannot be had."""

    places: tuple[tuple[str, nn.Module], ...]
    refused: tuple[tuple[str, str], ...]


def is_activation(module: nn.Module) -> bool:
    """Whether this module is an elementwise nonlinearity of torch, timm or torchvision."""
    return isinstance(module, _TORCH) or type(module).__module__.startswith(_TIMM)


def hidden(model: nn.Module) -> Hidden:
    """Every hidden nonlinearity by name, in the order of registration; shared ones repeatedly."""
    places, refused = [], []
    output = _output(model)
    for name, module in model.named_modules(remove_duplicate=False):
        if not is_activation(module):
            refused += [(name or "the model", why) for why in _functions(module)]
        elif module is output:
            refused.append((name or "the model", "it is the output of the model"))
        elif _squashes(module) and not _is_between(model, name):
            refused.append((name, "a sigmoid here is taken for a gate, or for the output"))
        else:
            places.append((name, module))
    return Hidden(tuple(places), tuple(refused))


def swap(
    model: nn.Module, build: Callable[[], nn.Module]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Put `build()` in the place of every hidden nonlinearity; what was shared stays shared.

    Returns the names of the places, and what was left alone and why. Raises ModelError when
    there is nothing to swap.
    """
    found = hidden(model)
    if not found.places:
        raise no_place(model, "hidden nonlinearity that is a module", found.refused)
    new = {id(old): build() for _, old in found.places}
    for name, old in found.places:
        replace(model, name, _alike(new[id(old)], old, model))
    return tuple(name for name, _ in found.places), found.refused


def no_place(
    model: nn.Module,
    wanted: str,
    refused: tuple[tuple[str, str], ...] = (),
    fix: str = "write it as modules (nn.ReLU(), not F.relu), or remove this layer from the recipe",
) -> ModelError:
    """The error of an insertion that found nothing to change."""
    seen = {"left": "; ".join(f"{where}: {why}" for where, why in refused[:3])} if refused else {}
    return ModelError(
        f"{type(model).__name__} has no {wanted}",
        fix=fix,
        **seen,
    )


def replace(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` in the place called `name`."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def _alike(new: nn.Module, old: nn.Module, model: nn.Module) -> nn.Module:
    """`new` in the mode of the old module and on the device of the model."""
    like = next(model.parameters(), None)
    return new.train(old.training) if like is None else new.to(like).train(old.training)


def _output(model: nn.Module) -> nn.Module:
    """The module that computes the output, as far as that is plain: the end of a Sequential."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[-1]
    return model


def _squashes(module: nn.Module) -> bool:
    return "sigmoid" in type(module).__name__.lower() and not isinstance(module, nn.LogSigmoid)


def _is_between(model: nn.Module, name: str) -> bool:
    """Whether layers with weights follow in the same Sequential, or the name says activation."""
    place, _, child = name.rpartition(".")
    parent = model.get_submodule(place)
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        after = [parent[i] for i in range(names.index(child) + 1, len(names))]
        return any(True for module in after for _ in module.parameters())
    says_so = child.startswith(("act", "nonlin"))
    return says_so and "glu" not in type(parent).__name__.lower()


def _functions(module: nn.Module) -> Iterator[str]:
    """Nonlinearities that the code of this module's forward calls as functions."""
    cls = type(module)
    if cls.__module__.startswith("torch.nn."):
        if callable(getattr(module, "activation", None)) and "activation" not in module._modules:
            yield "its activation is a function"
        return
    own = [f for base in cls.__mro__ if base is not nn.Module for f in vars(base).items()]
    for name, function in own:
        code = getattr(function, "__code__", None)
        if code is None or "forward" not in name:
            continue
        for called in sorted(_FUNCTIONS.intersection(code.co_names)):
            if not hasattr(module, called):
                yield f"its {name} calls {called} as a function"
