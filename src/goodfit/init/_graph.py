"""What follows what in a model: which activation comes after a layer, what is added to what.

Found by symbolic tracing; where a model cannot be traced, by the order in which its modules were
made, which is right for plain chains and a good guess for others.
"""

import operator
from collections import Counter
from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from goodfit.init import Weighted

Activation = Callable[[Tensor], Tensor]

_FUNCTIONS = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.softplus),
    *(F.hardswish, F.hardsigmoid, F.hardtanh, F.tanh, F.sigmoid, torch.relu, torch.relu_),
    *(torch.tanh, torch.sigmoid, torch.selu),
}
_METHODS = {"relu", "relu_", "tanh", "tanh_", "sigmoid", "sigmoid_"}
ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_NO_ACTIVATION = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.GLU)


class _Tracer(fx.Tracer):
    """Enters only modules that hold weighted layers, so that little can stop it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inner = [child for child in m.modules() if child is not m]
        return isinstance(m, Weighted | nn.MultiheadAttention) or not any(
            isinstance(child, Weighted) for child in inner
        )


def traced(model: nn.Module) -> fx.Graph | None:
    """The model's graph, or None when it cannot be traced."""
    try:
        return _Tracer().trace(model)
    except Exception:  # whatever the model's own code raises when it is given symbols
        return None


class Following:
    """For each weighted layer, the gain that the activation after it asks for."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._gains: dict[str, float] | None = None

    def gain(self, place: str) -> float:
        """1 / sqrt(E f(x)^2) for x ~ N(0, 1) and the activation f that follows; 1 if none does."""
        if self._gains is None:
            graph = traced(self.model)
            self._gains = _by_order(self.model) if graph is None else _by_graph(self.model, graph)
        return self._gains.get(place, 1.0)


def _by_graph(model: nn.Module, graph: fx.Graph) -> dict[str, float]:
    modules = dict(model.named_modules())
    return {
        str(node.target): gain_of(_next_activation(node, modules))
        for node in graph.nodes
        if node.op == "call_module" and isinstance(modules[str(node.target)], Weighted)
    }


def _next_activation(start: fx.Node, modules: dict[str, nn.Module]) -> Activation | None:
    """The nearest activation downstream, before any other weighted layer."""
    waiting, seen = list(start.users), {start}
    while waiting:
        node = waiting.pop(0)
        if node in seen:
            continue
        seen.add(node)
        if node.op == "call_module":
            module = modules[str(node.target)]
            inner = next((m for m in module.modules() if is_activation(m)), None)
            if inner is not None:  # itself, or within a norm that activates
                return inner
            if isinstance(module, Weighted | nn.MultiheadAttention):
                continue
        elif node.target in _FUNCTIONS or (node.op == "call_method" and node.target in _METHODS):
            return _as_called(node)
        waiting.extend(node.users)
    return None


def _as_called(node: fx.Node) -> Activation:
    settings = {
        name: value for name, value in node.kwargs.items() if name not in ("input", "inplace")
    }
    rest: tuple[Any, ...] = tuple(arg for arg in node.args[1:] if not isinstance(arg, fx.Node))
    if node.op == "call_method":
        return lambda x: getattr(x, str(node.target).rstrip("_"))()
    return lambda x: node.target(x, *rest, **settings)  # type: ignore[operator]


def _by_order(model: nn.Module) -> dict[str, float]:
    """Next activation in the order of making; where none comes first, the model's usual one."""
    gains: dict[str, float] = {}
    waiting = ""
    usual: Counter[float] = Counter()
    unclear: list[str] = []
    for place, module in model.named_modules():
        if isinstance(module, Weighted):
            unclear += [waiting] if waiting else []
            waiting = place
        elif is_activation(module):
            usual[gain_of(module)] += 1
            if waiting:
                gains[waiting] = gain_of(module)
                waiting = ""
    common = usual.most_common(1)[0][0] if usual else 1.0
    return gains | dict.fromkeys(unclear, common) | ({waiting: 1.0} if waiting else {})


def is_activation(module: nn.Module) -> bool:
    """Whether a module acts on each number by itself, and not linearly."""
    if isinstance(module, nn.PReLU):
        return True
    if isinstance(module, _NO_ACTIVATION) or any(True for _ in module.children()):
        return False
    if any(True for _ in module.parameters()) or any(True for _ in module.buffers()):
        return False
    x = torch.linspace(-3, 3, 64).view(1, 4, 2, 8)
    same = torch.arange(64).view_as(x) % 2 == 0
    other = torch.where(same, x, x - x.sign() * 0.5 - 1)  # other numbers beside the same ones
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()
            y, beside = module(x.clone()), module(other.clone())
            turned = module(x.flip(1, 2, 3))
    except Exception:  # a module that wants something else is no activation
        return False
    finally:
        module.train(was_training)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        return False
    if not torch.equal(y, turned.flip(1, 2, 3)) or not torch.equal(y[same], beside[same]):
        return False
    straight = torch.lerp(y.flatten()[0], y.flatten()[-1], torch.linspace(0, 1, 64))
    return not torch.allclose(y.flatten(), straight, atol=1e-4)


def gain_of(activation: Activation | None) -> float:
    """1 / sqrt(E f(x)^2), x ~ N(0, 1): sqrt 2 for ReLU, 1 for SELU and where there is none."""
    if activation is None:
        return 1.0
    if isinstance(activation, nn.PReLU):
        slope = activation.weight.detach().float().mean().item()
        return sqrt(2 / (1 + slope**2))
    x = torch.linspace(-10, 10, 40001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2)
    with torch.no_grad():
        y = activation(x.clone())
    return float((density.sum() / (density * y**2).sum()).sqrt())


def additions(model: nn.Module, graph: fx.Graph) -> Iterator[tuple[fx.Node, fx.Node]]:
    """(the sum, its branch) for every place where a branch is added to a shortcut."""
    modules = dict(model.named_modules())
    reach: dict[fx.Node, set[fx.Node]] = {}  # everything upstream of a node, and itself
    for node in graph.nodes:
        reach[node] = {node}.union(*(reach[arg] for arg in node.all_input_nodes))
        two = [arg for arg in node.args[:2] if isinstance(arg, fx.Node)]
        if node.target not in ADDITIONS or len(two) < 2 or two[0] is two[1]:
            continue
        shared = reach[two[0]] & reach[two[1]]
        if not any(inner.op == "placeholder" or inner.all_input_nodes for inner in shared):
            continue
        lengths = [_weighted_in(reach[side] - shared, modules) for side in two]
        if max(lengths) > 0 and lengths[0] != lengths[1]:
            yield node, two[lengths.index(max(lengths))]


def is_parameter(node: fx.Node) -> bool:
    """Whether a value is computed from parameters alone, not from the input."""
    before = node.all_input_nodes
    return node.op == "get_attr" or (bool(before) and all(is_parameter(n) for n in before))


def _weighted_in(nodes: set[fx.Node], modules: dict[str, nn.Module]) -> int:
    calls = (modules[str(node.target)] for node in nodes if node.op == "call_module")
    return sum(isinstance(module, Weighted | nn.MultiheadAttention) for module in calls)
