"""Follow one batch through the model: every operation, what feeds it, and what it puts out.

Modules alone do not tell: an activation may be a function, a weight a bare parameter, a softmax a
method. So every torch call is seen by a function mode, with the module it was made in, and the
flow of the data is kept as a graph. Statistics are taken on the spot, since later operations may
write in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from goodfit.check.probes.numbers import (
    Stats,
    attention_entropy,
    options_of,
    slope_of,
    stats_of,
)
from goodfit.check.probes.operations import (
    AFFINE,
    CELLS,
    CURVES,
    RECTIFIERS,
    RECURRENT,
    SOFTMAXES,
    SQUASHERS,
    plain_name,
)
from goodfit.check.probes.recurrent import inside
from goodfit.check.program import called
from goodfit.check.work import samples_in


@dataclass(frozen=True)
class Node:
    """One operation that depends on the input."""

    index: int
    op: str
    module: str  # the innermost module it was called in
    inputs: tuple[int, ...]  # operations that made its data inputs; -1 is the model's input
    params: tuple[str, ...]  # parameters that reach it without passing through data
    shape: tuple[int, ...]
    stats: Stats | None = None
    before: Stats | None = None  # of its first data input, for affine operations
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """The graph of one forward pass. `output` is the operation that made the logits; the last
    one seen where they came another way, such as over numpy, and then not `followed`.
    """

    nodes: tuple[Node, ...]
    output: int
    images: int
    called: frozenset[str]  # modules whose forward ran
    followed: bool

    def consumers(self, index: int) -> list[Node]:
        """The operations that use this one's output."""
        return [node for node in self.nodes if index in node.inputs]

    def affine(self) -> list[Node]:
        """Operations with a weight matrix, in the order of execution."""
        return [node for node in self.nodes if is_weighted(node)]

    def back(self, index: int) -> Iterator[Node]:
        """The operation and what it came from, along its first data input."""
        while index >= 0:
            node = self.nodes[index]
            yield node
            index = node.inputs[0] if node.inputs else -1

    def in_vain(self, name: str) -> bool:
        """Whether a parameter is of a module or operation that ran for nothing."""
        owner = name.rpartition(".")[0]
        return name in self._in_vain or (bool(owner) and owner in self._in_vain)

    @cached_property
    def _in_vain(self) -> set[str]:
        """Parameters, and modules with parameters, nothing of which reaches the output.

        Empty where the way from the input to the output could not be followed.
        """
        waiting, reached = [self.output], set[int]()
        while waiting:
            index = waiting.pop()
            if index not in reached:
                reached.add(index)
                waiting += self.nodes[index].inputs or (-1,) if index >= 0 else ()
        if -1 not in reached:
            return set()
        served, all_of = set[str](), set[str]()
        for node in self.nodes:
            named = {part for name in node.params for part in (name, name.rpartition(".")[0])}
            all_of |= named
            served |= named if node.index in reached else set()
        return all_of - served

    def weighted_before(self, index: int) -> Node | None:
        """The operation with weights that feeds this one most directly."""
        return next((node for node in self.back(index) if is_weighted(node)), None)


def is_weighted(node: Node) -> bool:
    """Whether a weight matrix or kernel of the model takes part."""
    return bool(node.params) and (
        node.op in AFFINE | RECURRENT or node.op == "multi_head_attention_forward"
    )


def layer_name(node: Node) -> str:
    """The module that owns the operation's weights."""
    if not node.params:
        return node.module or "the model"
    owner = node.params[0].rpartition(".")[0]
    for mark in (".parametrizations", "parametrizations"):
        owner = owner.split(mark)[0] if mark in owner else owner
    return owner or node.params[0]


def trace(model: nn.Module, x: Any, pick: Any) -> Trace:
    """Run `model(x)` once and record it."""
    recorder = _Recorder(model)
    recorder.know_input(x)
    try:
        with recorder:
            output = called(model, x)
        scores = pick(output)
        made, followed = recorder.index_of(scores), recorder.saw(scores)
    finally:
        recorder.close()
    images = samples_in(x)
    return Trace(tuple(recorder.nodes), made, images, frozenset(recorder.called), followed)


class _Recorder(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.called: set[str] = set()
        self._made: dict[int, int] = {}  # id of a tensor: the operation that made it
        self._whole: dict[int, int] = {}  # the same of whole numbers made of an operation's output
        self._roots: dict[int, tuple[str, ...]] = {}  # id: parameters it is a function of
        self._keep: list[Tensor] = []  # so that no id is used twice
        self._stats: dict[int, Stats | None] = {}
        self._stack: list[str] = [""]
        for name, p in model.named_parameters():
            self._roots[id(p)] = (name,)
        self._handles = []
        for name, module in model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(name)))
            self._handles.append(module.register_forward_hook(self._leave(), always_call=True))

    def _enter(self, name: str) -> Any:
        def enter(*_: Any) -> None:
            self._stack.append(name)
            self.called.add(name)

        return enter

    def _leave(self) -> Any:
        def leave(*_: Any) -> None:
            if len(self._stack) > 1:
                self._stack.pop()

        return leave

    def know_input(self, x: Any) -> None:
        for tensor in _tensors(x if not isinstance(x, dict) else list(x.values())):
            self._made[id(tensor)] = -1
            self._keep.append(tensor)

    def index_of(self, tensor: Tensor) -> int:
        return self._made.get(id(tensor), len(self.nodes) - 1)

    def saw(self, tensor: Tensor) -> bool:
        return id(tensor) in self._made

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._keep.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name in ("__get__", "__set__", "size", "dim", "register_hook", "__len__"):
            result = func(*args, **kwargs)
            if not isinstance(result, Tensor):
                return result
        op = plain_name(name)
        given = list(_tensors([*args, *kwargs.values()]))
        data = [t for t in given if id(t) in self._made]
        source = self._made
        if not data:  # indices into a table that were computed: the way goes on through them
            data, source = [t for t in given if id(t) in self._whole], self._whole
        roots = tuple(dict.fromkeys(r for t in given for r in self._roots.get(id(t), ())))
        before = stats_of(data[0].detach(), "input") if data and is_matrix(op, roots) else None
        entering = slope_of(op, data[0]) if data and op in SQUASHERS else 1.0
        result = func(*args, **kwargs)
        if not data:
            for out in _tensors(result):
                if roots and id(out) not in self._roots:
                    self._roots[id(out)] = roots
                    self._keep.append(out)
            return result
        outputs = [t for t in _tensors(result) if t.is_floating_point() or t.is_complex()]
        if not outputs:
            for out in _tensors(result):
                if source[id(data[0])] >= 0:
                    self._whole[id(out)] = source[id(data[0])]
                    self._keep.append(out)
            return result
        if op in SQUASHERS or op in SOFTMAXES or is_matrix(op, roots) or op in RECTIFIERS | CURVES:
            stats = stats_of(outputs[0].detach(), op, entering)
        else:
            stats = None
        options = options_of(op, args, kwargs)
        if op == "scaled_dot_product_attention":
            options["entropy"] = attention_entropy(args, kwargs)
        if op in RECURRENT | CELLS:
            options |= inside(func, op, args, outputs[0])
        node = Node(
            len(self.nodes),
            op,
            self._stack[-1],
            tuple(dict.fromkeys(source[id(t)] for t in data)),
            tuple(_matrices(given, self._roots)) or roots,
            tuple(outputs[0].shape),
            stats,
            before,
            options,
        )
        self.nodes.append(node)
        for out in outputs:
            self._made[id(out)] = node.index
            self._keep.append(out)
        return result


def is_matrix(op: str, roots: tuple[str, ...]) -> bool:
    """Whether this is an operation of a layer with weights."""
    return op in AFFINE | RECURRENT and bool(roots)


def _matrices(given: list[Tensor], roots: dict[int, tuple[str, ...]]) -> list[str]:
    """Parameters behind the inputs with two or more dimensions: weights before biases."""
    return list(dict.fromkeys(r for t in given if t.ndim >= 2 for r in roots.get(id(t), ())))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
