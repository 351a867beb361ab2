"""Put a layer before or after any module of a model, without changing its names.

The new layer becomes a child of its host and runs as the host's hook. So the host keeps its type,
its place and the names of its parameters: pretrained weights still load, and what was trained
loads into the plain model.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.layers._swap import hidden, no_place, replace

Places = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


def after(host: nn.Module, layer: nn.Module, child: str) -> None:
    """Let `layer` act on what `host` puts out."""
    host.register_forward_hook(partial(_on_output, _added(host, layer, child)))


def before(host: nn.Module, layer: nn.Module, child: str) -> None:
    """Let `layer` act on what `host` reads."""
    host.register_forward_pre_hook(partial(_on_input, _added(host, layer, child)))


def _added(host: nn.Module, layer: nn.Module, child: str) -> str:
    if hasattr(host, child):
        raise ModelError(
            f"{type(host).__name__} has a {child} already",
            fix="name this layer only once in the recipe",
        )
    host.add_module(child, layer.train(host.training))
    return child


def _on_output(child: str, host: nn.Module, _: Any, output: Tensor) -> Tensor:
    return host.get_submodule(child)(output)  # type: ignore[no-any-return]


def _on_input(child: str, host: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (host.get_submodule(child)(args[0]), *args[1:])


def head(model: nn.Module) -> tuple[str, nn.Module]:
    """The layer that computes the logits: what timm says, or the last linear one, or 1 x 1 conv.

    Raises ModelError when there is none.
    """
    timm_says: Any = getattr(model, "get_classifier", None)
    told = timm_says() if timm_says else None
    layers = list(model.named_modules())
    candidates = [
        *((name, m) for name, m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)),
        *((name, m) for name, m in layers if isinstance(m, nn.Linear)),
        *((name, m) for name, m in layers if m is told and isinstance(m, nn.Linear | nn.Conv2d)),
    ]
    if candidates:
        return candidates[-1]
    raise no_place(model, "linear layer to take for its head", fix="add an nn.Linear")


def is_dropout(module: nn.Module) -> bool:
    """Whether this is a dropout of single values: torch's, timm's or ours."""
    return type(module).__name__ in ("Dropout", "AlphaDropout", "VanillaDropout")


def drop_before_head(model: nn.Module, build: Callable[[], nn.Module]) -> Places:
    """One dropout right before the head; one that is there already is replaced."""
    name, module = head(model)
    place, _, child = name.rpartition(".")
    siblings = model.get_submodule(place)._modules
    earlier = list(siblings)[: list(siblings).index(child)] if name else []
    last = siblings[earlier[-1]] if earlier else None
    if last is not None and is_dropout(last):
        where = f"{place}.{earlier[-1]}".lstrip(".")
        replace(model, where, build().train(last.training))
        return (where,), ()
    before(module, build(), "dropout")
    return (name,), ()


def drop_after_hidden(model: nn.Module, build: Callable[[], nn.Module]) -> Places:
    """A dropout after every hidden nonlinearity; those that follow one already are replaced."""
    found = hidden(model)
    places, refused = [], list(found.refused)
    done: dict[int, nn.Module] = {}  # a shared nonlinearity gets one dropout
    for name, module in found.places:
        place, _, child = name.rpartition(".")
        parent = model.get_submodule(place)
        if any("sigmoid" in type(m).__name__.lower() for m in parent.children()):
            refused.append((name, "it belongs to a gate"))
        elif (then := _next(parent, child)) and is_dropout(parent.get_submodule(then)):
            places.append(f"{place}.{then}".lstrip("."))
            replace(model, places[-1], build().train(module.training))
        else:
            new = nn.Sequential(module, build().train(module.training)).train(module.training)
            replace(model, name, done.setdefault(id(module), new))
            places.append(name)
    if not places:
        raise no_place(model, "hidden nonlinearity to put dropout after", tuple(refused))
    return tuple(places), tuple(refused)


def _next(parent: nn.Module, child: str) -> str:
    """The name of the module that follows in a Sequential, or nothing."""
    names = list(parent._modules) if isinstance(parent, nn.Sequential) else []
    place = names.index(child) + 1 if child in names else len(names)
    return names[place] if place < len(names) else ""
