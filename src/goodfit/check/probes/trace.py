"""Follow one batch through the model: every operation, what feeds it, and what it puts out.

Modules alone do not tell: an activation may be a function, a weight a bare parameter, a softmax a
method. So every torch call is seen by a function mode, with the module it was made in, and the
flow of the data is kept as a graph. Statistics are taken on the spot, since later operations may
write in place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

AFFINE = frozenset(
    [
        "linear",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "matmul",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "einsum",
        "__matmul__",
        "__rmatmul__",
        "bilinear",
        "tensordot",
        "mv",
        "addmv",
    ]
)
ATTENTION = frozenset({"multi_head_attention_forward", "scaled_dot_product_attention"})
NORMS = frozenset(
    [
        "batch_norm",
        "layer_norm",
        "group_norm",
        "instance_norm",
        "rms_norm",
        "normalize",
        "local_response_norm",
    ]
)
DROPOUTS = frozenset(
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "feature_dropout",
    ]
)
RECTIFIERS = frozenset({"relu", "relu6", "threshold", "clamp_min", "clip_min"})
CURVES = frozenset(
    [
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "prelu",
        "rrelu",
        "hardswish",
        "softplus",
        "hardshrink",
        "softshrink",
        "logsigmoid",
        "glu",
    ]
)
SQUASHERS = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign", "expit"})
SOFTMAXES = frozenset({"softmax", "log_softmax", "softmin", "gumbel_softmax"})
RESHAPES = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "contiguous",
        "t",
        "swapaxes",
        "movedim",
        "expand",
        "expand_as",
        "to",
        "float",
        "type_as",
        "clone",
        "unflatten",
        "narrow",
        "select",
        "__getitem__",
        "chunk",
        "split",
        "view_as",
        "mT",
        "T",
        "double",
        "half",
        "type",
        "cpu",
        "cuda",
        "identity",
        "repeat",
        "reshape_as",
        "swapdims",
        "squeeze_",
        "unsqueeze_",
        "pixel_shuffle",
        "channel_shuffle",
        "roll",
        "flip",
    ]
)
AVERAGES = frozenset(
    [
        "mean",
        "sum",
        "avg_pool1d",
        "avg_pool2d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "pad",
    ]
)
POOLS = frozenset(["max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d", "amax", "max"])
SUMS = frozenset({"add", "__add__", "__radd__", "iadd", "__iadd__", "sub", "__sub__", "add_"})
PRODUCTS = frozenset({"mul", "__mul__", "__rmul__", "imul", "__imul__", "mul_", "multiply"})


@dataclass(frozen=True)
class Stats:
    """Numbers of one operation's output on the traced batch."""

    rms: float
    spread: float  # rms over the outputs of the standard deviation between samples
    finite: bool
    active: Tensor | None = None  # share of positive outputs per unit, for activations
    silent: Tensor | None = None  # units that are zero for every sample and place
    slope: float = 1.0  # mean |f'| over its value at unit-variance input, for squashing functions
    entropy: float = 1.0  # of softmax rows, over the logarithm of their length
    images_share: float = 1.0  # between-image share of the variance per channel


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
    """The graph of one forward pass. `output` is the operation that made the logits."""

    nodes: tuple[Node, ...]
    output: int
    images: int
    called: frozenset[str]  # modules whose forward ran

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

    def weighted_before(self, index: int) -> Node | None:
        """The operation with weights that feeds this one most directly."""
        return next((node for node in self.back(index) if is_weighted(node)), None)


def is_weighted(node: Node) -> bool:
    """Whether a weight matrix or kernel of the model takes part."""
    return (node.op in AFFINE or node.op == "multi_head_attention_forward") and bool(node.params)


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
            output = model(**x) if isinstance(x, dict) else model(x)
        scores = pick(output)
        made = recorder.index_of(scores)
    finally:
        recorder.close()
    images = len(x) if isinstance(x, Tensor) else 0
    return Trace(tuple(recorder.nodes), made, images, frozenset(recorder.called))


class _Recorder(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.called: set[str] = set()
        self._made: dict[int, int] = {}  # id of a tensor: the operation that made it
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
        op = _plain(name)
        given = list(_tensors([*args, *kwargs.values()]))
        data = [t for t in given if id(t) in self._made]
        roots = tuple(dict.fromkeys(r for t in given for r in self._roots.get(id(t), ())))
        before = _stats(data[0].detach(), "input") if data and op in AFFINE and roots else None
        entering = _squash(op, data[0]) if data and op in SQUASHERS else 1.0
        result = func(*args, **kwargs)
        if not data:
            for out in _tensors(result):
                if roots and id(out) not in self._roots:
                    self._roots[id(out)] = roots
                    self._keep.append(out)
            return result
        outputs = [t for t in _tensors(result) if t.is_floating_point() or t.is_complex()]
        if not outputs:
            return result
        if op in SQUASHERS or op in SOFTMAXES or is_matrix(op, roots) or op in RECTIFIERS | CURVES:
            stats = _stats(outputs[0].detach(), op, entering)
        else:
            stats = None
        options = _options(op, args, kwargs)
        if op == "scaled_dot_product_attention":
            options["entropy"] = _attention_entropy(args, kwargs)
        node = Node(
            len(self.nodes),
            op,
            self._stack[-1],
            tuple(dict.fromkeys(self._made[id(t)] for t in data)),
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
    return op in AFFINE and bool(roots)


def _matrices(given: list[Tensor], roots: dict[int, tuple[str, ...]]) -> list[str]:
    """Parameters behind the inputs with two or more dimensions: weights before biases."""
    return list(dict.fromkeys(r for t in given if t.ndim >= 2 for r in roots.get(id(t), ())))


def _plain(name: str) -> str:
    if name.startswith("__"):
        return name
    return name.lstrip("_").removesuffix("_with_indices").rstrip("_") or name


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)


def _options(op: str, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Settings that rules ask for: a dropout rate, the axis of a softmax, a kernel."""
    if op in DROPOUTS:
        return {
            "p": kwargs.get("p", args[1] if len(args) > 1 else 0.5),
            "training": kwargs.get("training", args[2] if len(args) > 2 else True),
        }
    if op in SOFTMAXES:
        return {
            "dim": kwargs.get(
                "dim", args[1] if len(args) > 1 and isinstance(args[1], int) else None
            )
        }
    if op.startswith("conv"):
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        source = args[0] if args else kwargs.get("input")
        return {
            "weight": tuple(weight.shape) if isinstance(weight, Tensor) else (),
            "groups": groups,
            "into": tuple(source.shape) if isinstance(source, Tensor) else (),
        }
    if op in AFFINE:
        sizes = [tuple(t.shape) for t in args if isinstance(t, Tensor)]
        return {"weight": sizes[1] if len(sizes) > 1 else (), "into": sizes[0] if sizes else ()}
    if op == "batch_norm":
        training = kwargs.get("training", args[5] if len(args) > 5 else False)
        source = args[0]
        return {
            "training": training,
            "into": tuple(source.shape),
            "noise": _batch_noise(source.detach()),
        }
    return {}


def _batch_noise(x: Tensor) -> float:
    """Independent values behind each batch statistic: the variance over that of the mean."""
    if x.ndim < 2 or len(x) < 2:
        return float(len(x))
    flat = x.float().flatten(2) if x.ndim > 2 else x.float()[..., None]
    means = flat.mean(2)
    whole = flat.transpose(0, 1).flatten(1).var(1)
    share = (means.var(0) / whole.clamp_min(1e-20)).clamp(1 / flat.shape[2], 1)
    share = share[whole > 1e-12]
    return float(len(x) / share.median()) if len(share) else float(len(x))


def _squash(op: str, x: Tensor) -> float:
    """Mean |f'| of a squashing function on this input, over its mean on a standard normal input."""
    x = x.detach().float()
    if op in ("sigmoid", "expit"):
        slope, usual = torch.sigmoid(x) * torch.sigmoid(-x), 0.2066
    elif op == "tanh":
        slope, usual = 1 - torch.tanh(x) ** 2, 0.6057
    elif op == "softsign":
        slope, usual = (1 + x.abs()) ** -2, 0.38
    elif op == "hardsigmoid":
        slope, usual = (x.abs() < 3).float() / 6, 0.166
    else:
        slope, usual = (x.abs() < 1).float(), 0.683
    return float(slope.mean() / usual)


def _attention_entropy(args: Any, kwargs: dict[str, Any]) -> float:
    """Entropy of the attention that a fused call computes inside."""
    try:
        query: Tensor = kwargs["query"] if "query" in kwargs else args[0]
        key: Tensor = kwargs["key"] if "key" in kwargs else args[1]
        scale = kwargs.get("scale") or query.shape[-1] ** -0.5
        weights = (
            (query.detach()[:8] @ key.detach()[:8].transpose(-1, -2) * scale).float().softmax(-1)
        )
        return _entropy(weights, -1)
    except Exception:
        return 1.0


def _entropy(p: Tensor, dim: int) -> float:
    if p.shape[dim] < 2:
        return 1.0
    bits = -(p * p.clamp_min(1e-30).log()).sum(dim).mean()
    return float(bits / torch.tensor(float(p.shape[dim])).log())


def _stats(out: Tensor, op: str, slope: float = 1.0) -> Stats:
    with torch._C.DisableTorchFunction():
        out = out.float()
        finite = bool(out.isfinite().all())
        if not finite:
            out = torch.nan_to_num(out, 0.0, 0.0, 0.0)
        rms = float(out.square().mean().sqrt())
        spread = (
            float(out.var(0, correction=0).mean().sqrt()) if len(out) > 1 and out.ndim > 1 else 0.0
        )
        active = silent = None
        if op in RECTIFIERS | CURVES | SQUASHERS and out.ndim > 1:
            units = _units(out)
            active, silent = (units > 0).float().mean(0), (units == 0).all(0)
        entropy = _entropy(out, -1) if op == "softmax" and out.ndim > 2 else 1.0
    return Stats(rms, spread, finite, active, silent, slope, entropy)


def _units(out: Tensor) -> Tensor:
    """Outputs as (values, units): channels of maps, features of vectors and tokens."""
    if out.ndim >= 4 or (out.ndim == 3 and out.shape[1] > 4 * out.shape[2]):
        return out.transpose(0, 1).flatten(1).T
    return out.reshape(-1, out.shape[-1])
