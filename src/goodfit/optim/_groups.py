"""Parameter groups: which parameters decay, and at which fraction of the learning rate.

The order of layers is read from the model itself: children of `Sequential`, `ModuleList` and
`ModuleDict` are layers, as is everything beside them; norms and activations belong to the layer
before them. A block of its own kind (a residual block, an encoder block) is one layer.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from goodfit.errors import ModelError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_MATRICES = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear)


class Group(NamedTuple):
    """Parameters that are treated alike."""

    names: tuple[str, ...]
    parameters: tuple[Tensor, ...]
    lr: float
    weight_decay: float
    layer: int | None  # None when the layers have no rates of their own
    why: str  # "weights", or why it does not decay

    @property
    def title(self) -> str:
        """What the log calls it."""
        return f"{'all layers' if self.layer is None else f'layer {self.layer}'}, {self.why}"

    @property
    def are_weights(self) -> bool:
        """Whether these are matrices and filters, not norms, biases and other vectors."""
        return self.why.startswith("weights")

    @property
    def numbers(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def as_torch(self) -> dict[str, Any]:
        """The group as torch's optimizers take it, with its description."""
        return {
            "params": list(self.parameters),
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "name": self.title,
            "are_weights": self.are_weights,
        }


def undecayed(module: nn.Module, name: str, parameter: Tensor) -> str:
    """Why weight decay leaves this parameter of `module` alone; "" when it does not."""
    if "norm" in type(module).__name__.lower():
        return "norm"
    if name == "bias" or name.endswith("_bias"):
        return "bias"
    if isinstance(module, nn.PReLU):
        return "slope"
    if parameter.ndim < 2:
        return "vector"
    if not isinstance(module, _MATRICES) and parameter.numel() == max(parameter.shape):
        return "vector"  # LayerScale of shape (c, 1, 1), class tokens of shape (1, 1, d)
    return ""


def named_owners(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    """Every parameter once: its full name, its module, its name there, itself."""
    seen: set[int] = set()
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{place}.{name}" if place else name, module, name, parameter


def layers_of(model: nn.Module) -> dict[str, int]:
    """The layer of every parameter, by name: 0 next to the images, the last one the head."""
    place, inner = _unwrapped(model)
    units = list(_units(inner, place))
    layer, of_unit = -1, {}
    for place, module in units:
        joins = _joins_the_one_before(module) and layer >= 0
        layer += 0 if joins else 1
        of_unit[place] = layer
    bare = (0, "")  # parameters of the root itself: positions, class tokens
    found = {}
    for full, *_ in named_owners(model):
        owners = ((len(p), p) for p in of_unit if full == p or full.startswith(p + "."))
        place = max(owners, default=bare)[1]
        found[full] = of_unit.get(place, 0)
    return found


def _unwrapped(model: nn.Module) -> tuple[str, nn.Module]:
    """The net inside of wrappers (compiled, distributed, with preprocessing), and its place."""
    place, inner = "", model
    while not isinstance(inner, _CONTAINERS) and not list(inner.parameters(recurse=False)):
        holding = [(n, m) for n, m in inner.named_children() if any(True for _ in m.parameters())]
        if len(holding) != 1:
            break
        place, inner = f"{place}.{holding[0][0]}".removeprefix("."), holding[0][1]
    return place, inner


def _units(module: nn.Module, place: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules that count as one layer each, in order."""
    for name, child in module.named_children():
        where = f"{place}.{name}" if place else name
        if not any(True for _ in child.parameters()):
            continue
        if isinstance(child, _CONTAINERS) or _holds_blocks(child):
            yield from _units(child, where)
        else:
            yield where, child


def _holds_blocks(module: nn.Module) -> bool:
    """Whether somewhere in it is a container of blocks, as in a backbone."""
    return any(
        isinstance(inner, _CONTAINERS) and any(not _is_simple(child) for child in inner.children())
        for inner in module.modules()
    )


def _is_simple(module: nn.Module) -> bool:
    """With at most one matrix, such as a convolution with its norm and activation."""
    return sum(isinstance(inner, _MATRICES) for inner in module.modules()) <= 1


def _joins_the_one_before(module: nn.Module) -> bool:
    owners = ((m, n, p) for m in module.modules() for n, p in m.named_parameters(recurse=False))
    return all(undecayed(m, n, p) for m, n, p in owners)


def grouped(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    head_lr: float = 1.0,
    decay_all: bool = False,
) -> list[Group]:
    """The groups of a model's trainable parameters; frozen ones are left out.

    A layer's rate is lr * layer_decay ** (distance from the last layer), the head's is also
    multiplied by `head_lr`. Raises ModelError when there is nothing to train.
    """
    layers = layers_of(model)
    last = max(layers.values(), default=0)
    head = head_of(model)
    spared = _spared_by(model)
    cells: dict[tuple[int, str, bool], list[tuple[str, Tensor]]] = {}
    for full, module, name, parameter in named_owners(model):
        if not parameter.requires_grad:
            continue
        why = undecayed(module, name, parameter)
        why = why or ("spared by the model" if full in spared else "weights")
        layer = layers[full] if layer_decay < 1 else last
        of_head = head_lr != 1 and (full == head or full.startswith(f"{head}."))
        cells.setdefault((layer, why, of_head), []).append((full, parameter))
    if not cells:
        raise ModelError(
            "the model has no parameter to train",
            at=type(model).__name__,
            frozen=sum(1 for _ in model.parameters()),
            fix="set requires_grad = True on some of its parameters",
        )
    return [
        Group(
            tuple(name for name, _ in found),
            tuple(p for _, p in found),
            lr * layer_decay ** (last - layer) * (head_lr if of_head else 1),
            weight_decay if decay_all or why == "weights" else 0.0,
            layer if layer_decay < 1 else None,
            f"{why} of the head" if of_head else why,
        )
        for (layer, why, of_head), found in sorted(cells.items(), key=lambda cell: cell[0])
    ]


def head_of(model: nn.Module) -> str:
    """The name of the classifier: the last linear layer, else the last convolution."""
    for kinds in ((nn.Linear,), (nn.modules.conv._ConvNd,)):
        found: list[str] = [
            place for place, module in model.named_modules() if isinstance(module, kinds)
        ]
        if found:
            return found[-1]
    return ""


def _spared_by(model: nn.Module) -> set[str]:
    """Names that the model itself excludes from weight decay, as timm's transformers do."""
    spared = set()
    for place, module in model.named_modules():
        said = getattr(module, "no_weight_decay", None)
        if callable(said):
            spared |= {f"{place}.{name}".removeprefix(".") for name in said()}
    return spared


def table(groups: list[Group]) -> str:
    """The groups as text, one line each, for the log."""
    head = f"{'group':<28} {'tensors':>7} {'numbers':>11} {'lr':>10} {'decay':>8}  first"
    rows = [
        f"{g.title:<28} {len(g.names):>7} {g.numbers:>11,} {g.lr:>10.3g} "
        f"{g.weight_decay:>8.3g}  {g.names[0]}"
        for g in groups
    ]
    return "\n".join([head, *rows])
