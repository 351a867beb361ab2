"""What hangs together: parameters, optimizer, modes, modules that are shared or not registered."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.check.probes.designed import designed
from goodfit.check.probes.flow import looks_drawn
from goodfit.check.work import Work


@dataclass(frozen=True)
class Parameter:
    """One parameter: whether it wants gradients, who updates it, and whether it looks drawn."""

    name: str
    module: str
    size: int
    dims: int
    wants_grad: bool
    optimized: bool
    drawn: bool
    lr: float = 0.0
    weight_decay: float = 0.0
    rms: float = 0.0
    designed: bool = False  # written down by somebody: a blur, a table of sines


@dataclass(frozen=True)
class Group:
    """One parameter group of the optimizer."""

    number: int
    params: int
    settings: dict[str, Any]


@dataclass(frozen=True)
class Stuck:
    """Modules that a mode does not reach."""

    name: str
    kind: str
    mode: str  # the one it stays in
    frozen: bool  # all its parameters are, and so are those of its parent


@dataclass(frozen=True)
class Wiring:
    """The static facts of a program."""

    parameters: tuple[Parameter, ...]
    groups: tuple[Group, ...] = ()
    optimizer: str = ""  # its class
    strangers: int = 0  # parameters that the optimizer holds and the model does not
    stuck: tuple[Stuck, ...] = ()
    unregistered: tuple[tuple[str, int, bool], ...] = ()  # place, size, held by the optimizer
    shared: tuple[tuple[str, ...], ...] = ()  # names of one module with weights
    norms: dict[str, dict[str, float]] = field(default_factory=dict)  # batch norms: settings
    loss_weights: int = 0


def wiring(work: Work) -> Wiring:
    """Look at the pieces; nothing is run but one forward pass for the tensors it reaches."""
    program = work.program
    model, optimizer = program.model, program.optimizer
    own = {id(p) for p in model.parameters()}
    held: dict[int, dict[str, Any]] = {}
    if optimizer is not None:
        held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    parameters = []
    for name, p in model.named_parameters():
        group = held.get(id(p), {})
        owner = name.rpartition(".")[0]
        drawn = looks_drawn(p) if p.ndim > 1 else True
        parameters.append(
            Parameter(
                name,
                owner,
                p.numel(),
                p.ndim,
                p.requires_grad,
                id(p) in held,
                drawn,
                float(group.get("lr", 0.0)),
                float(group.get("weight_decay", 0.0) or 0.0),
                float(p.detach().float().square().mean().sqrt()) if p.numel() else 0.0,
                not p.requires_grad and designed(p),
            )
        )
    loss_own = {id(p) for p in beside_the_model(program.loss, program.logits)}
    groups = tuple(
        Group(i, len(g["params"]), {k: v for k, v in g.items() if k != "params"})
        for i, g in enumerate(optimizer.param_groups if optimizer is not None else [])
    )
    return Wiring(
        tuple(parameters),
        groups,
        type(optimizer).__name__ if optimizer is not None else "",
        len([i for i in held if i not in own and i not in loss_own]),
        tuple(stuck(work)),
        tuple(unregistered(work)),
        tuple(shared(model)),
        {
            name: {
                "momentum": -1.0 if m.momentum is None else float(m.momentum),
                "eps": m.eps,
                "tracked": float(m.num_batches_tracked or 0) if m.track_running_stats else -1.0,
            }
            for name, m in model.named_modules()
            if isinstance(m, _BatchNorm)
        },
    )


def stuck(work: Work) -> Iterator[Stuck]:
    """Modules whose mode does not follow train() or eval()."""
    model = work.program.clone().model
    for mode in ("train", "eval"):
        getattr(model, mode)()
        for name, module in model.named_modules():
            if module.training == (mode == "train") or not _mode_matters(module):
                continue
            owner = model.get_submodule(name.rpartition(".")[0])
            around = [p for m in (module, owner) for p in m.parameters(recurse=m is module)]
            if isinstance(module, nn.modules.dropout._DropoutNd):
                around += list(owner.parameters())
            frozen = bool(around) and not any(p.requires_grad for p in around)
            yield Stuck(name, type(module).__name__, "eval" if mode == "train" else "train", frozen)


def _mode_matters(module: nn.Module) -> bool:
    """Modules that act on their mode: norms with statistics, dropouts, the user's own leaves."""
    if isinstance(module, _BatchNorm):
        return True
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if list(module.children()) or type(module).__module__.startswith("torch."):
        return False
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and "training" in code.co_names


def unregistered(work: Work) -> Iterator[tuple[str, int, bool]]:
    """Tensors that want gradients and take part, but are not among the parameters."""
    program = work.program
    clone = program.clone()
    known = {id(p) for p in clone.model.parameters()}
    original = {id(p) for p in program.model.parameters()}
    beside = {
        id(p) for p in beside_the_model(program.loss, program.logits, clone._loss, clone._logits)
    }
    held = {
        id(p)
        for g in (clone.optimizer.param_groups if clone.optimizer else [])
        for p in g["params"]
    }
    x, _ = work.small(8)
    clone.model.train()
    scores = clone.scores(x)
    inputs = {id(x)}
    places = dict(_places(clone.model))
    for leaf in leaves(scores):
        if id(leaf) in known | original | beside | inputs:
            continue
        yield (
            places.get(id(leaf), f"a tensor of shape {tuple(leaf.shape)}"),
            leaf.numel(),
            id(leaf) in held,
        )


def beside_the_model(*functions: Any) -> Iterator[Tensor]:
    """Weights of the loss, and of what picks the logits: a classifier may live there."""
    for function in functions:
        seen = [function, getattr(function, "__self__", None)]
        code = getattr(function, "__code__", None)
        if code is not None:
            seen += [function.__globals__.get(name) for name in code.co_names]
            seen += [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        for module in seen:
            if isinstance(module, nn.Module):
                yield from module.parameters()


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def leaves(tensor: Tensor) -> list[Tensor]:
    """All leaf tensors that autograd reaches from here."""
    found, waiting, known = [], [tensor.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [after for after, _ in node.next_functions]
    return found


def _places(model: nn.Module) -> Iterator[tuple[int, str]]:
    """Names of tensors that hide in plain attributes: lists, dicts, functions' owners."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_"):
                yield from _inside(value, f"{name}.{attribute}".lstrip("."), 0)


def _inside(value: Any, place: str, depth: int) -> Iterator[tuple[int, str]]:
    if isinstance(value, Tensor):
        yield id(value), place
    elif isinstance(value, nn.Module):
        for name, p in value.named_parameters():
            yield id(p), f"{place}.{name}"
    elif isinstance(value, (list, tuple)) and depth < 3:
        for i, part in enumerate(value):
            yield from _inside(part, f"{place}[{i}]", depth + 1)
    elif isinstance(value, dict) and depth < 3:
        for key, part in value.items():
            yield from _inside(part, f"{place}[{key!r}]", depth + 1)
    elif (
        depth < 2
        and hasattr(value, "__dict__")
        and not isinstance(value, type)
        and not callable(value)
    ):
        for key, part in vars(value).items():
            yield from _inside(part, f"{place}.{key}", depth + 1)


def shared(model: nn.Module) -> Iterator[tuple[str, ...]]:
    """Modules with weights that one container holds several times."""
    by_id: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if name and any(True for _ in module.parameters()):
            by_id.setdefault(id(module), []).append(name)
    tops: list[str] = []
    for names in by_id.values():
        parents = {name.rpartition(".")[0] for name in names}
        if (
            len(names) > 1
            and len(parents) < len(names)
            and not names[1].startswith(tuple(f"{t}." for t in tops))
        ):
            tops += names
            yield tuple(names)
