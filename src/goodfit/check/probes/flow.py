"""How signals run through the layers: a traced batch at the start and after a few real steps."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from goodfit.check.probes.operations import ATTENTION, NORMS, RESHAPES
from goodfit.check.probes.reading import Reading, reading
from goodfit.check.probes.trace import Node, Trace, is_weighted, layer_name, trace
from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work, accuracy


@dataclass(frozen=True)
class Layer:
    """One layer with weights, in the order of execution.

    gain: spread of its output over that of its input. normed: a norm follows before anything else.
    head: no other layer with weights lies between it and the output.
    """

    name: str
    depth: int
    node: int
    shape: tuple[int, ...]
    spread_in: float
    spread_out: float
    rms_in: float
    rms_out: float
    normed: bool
    head: bool
    zero: bool
    weight_std: float
    fan_in: int
    trainable: bool = True

    @property
    def gain(self) -> float:
        return self.spread_out / max(self.spread_in, 1e-30)


@dataclass(frozen=True)
class Flow:
    """The graph and the layers, before training and after some steps."""

    start: Trace
    quiet: Trace  # the same batch in evaluation mode: a random path may leave layers out
    layers: tuple[Layer, ...]
    after: Trace | None = None
    layers_after: tuple[Layer, ...] = ()
    scores: Tensor | None = None  # at the start, evaluation mode
    scores_after: Tensor | None = None
    trained: bool = False  # weights do not look like any initialization
    sources: dict[str, str] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)


def flow(work: Work) -> Flow:
    """Trace the untouched clone and the trained one."""
    x, y = work.small(64)
    clone = work.program.clone()
    start, layers, scores = _traced(work, clone, x)
    quiet = trace(clone.model.eval(), x, clone.pick)
    after: Trace | None = None
    layers_after: tuple[Layer, ...] = ()
    scores_after: Tensor | None = None
    if work.after is not None:
        try:
            after, layers_after, scores_after = _traced(work, work.after, x)
        except Exception:
            after = None
    return Flow(
        start,
        quiet,
        layers,
        after,
        layers_after,
        scores,
        scores_after,
        looks_trained(clone.model) or knows(scores, y),
        reading=_read(work, x),
    )


def _read(work: Work, x: object) -> Reading:
    try:
        return reading(work, x)
    except Exception:  # an input that cannot be differentiated or exchanged says nothing
        return Reading()


def knows(scores: Tensor, y: object) -> bool:
    """Whether the untouched model is right far more often than chance."""
    right = accuracy(scores, y.cpu() if isinstance(y, Tensor) else y)
    return scores.ndim == 2 and right > max(0.5, 3 / scores.shape[1])


def _traced(work: Work, clone: Clone, x: object) -> tuple[Trace, tuple[Layer, ...], Tensor]:
    reseed(work.program.seed + 2)
    buffers = {name: b.detach().clone() for name, b in clone.model.named_buffers()}
    clone.model.train()
    try:
        seen = trace(clone.model, x, clone.pick)
    finally:
        with torch.no_grad():
            for name, b in clone.model.named_buffers():
                if name in buffers and buffers[name].shape == b.shape:
                    b.copy_(buffers[name])
    clone.model.eval()
    with torch.no_grad():
        scores = clone.scores(x).detach().float().cpu()
    return seen, tuple(_layers(seen, clone.model)), scores


def _layers(seen: Trace, model: nn.Module) -> list[Layer]:
    params = dict(model.named_parameters())
    heads = heads_of(seen)
    layers = []
    for depth, node in enumerate(seen.affine()):
        weight = params.get(node.params[0])
        if node.stats is None or node.before is None or weight is None:
            continue
        w = weight.detach().float()
        into = w[0].numel() if w.ndim > 1 else 1
        layers.append(
            Layer(
                layer_name(node),
                depth,
                node.index,
                node.shape,
                node.before.spread,
                node.stats.spread,
                node.before.rms,
                node.stats.rms,
                normed_after(seen, node),
                node.index in heads,
                not bool(w.any()),
                float(w.std(correction=0)) if w.numel() > 1 else 0.0,
                into,
                weight.requires_grad,
            )
        )
    return layers


def heads_of(seen: Trace) -> set[int]:
    """Layers with weights from which the output is reached through no other one."""
    found: set[int] = set()
    waiting, known = [seen.output], set()
    while waiting:
        index = waiting.pop()
        if index < 0 or index in known:
            continue
        known.add(index)
        node = seen.nodes[index]
        if is_weighted(node) or node.op in ATTENTION:
            found.add(index)
        else:
            waiting += node.inputs
    return found


def normed_after(seen: Trace, node: Node) -> bool:
    """Whether every use of the output, reshaped at most, is a normalization."""
    uses = seen.consumers(node.index)
    for _ in range(4):
        if uses and all(use.op in RESHAPES for use in uses):
            uses = [after for use in uses for after in seen.consumers(use.index)]
    return bool(uses) and all(use.op in NORMS for use in uses)


def looks_trained(model: nn.Module) -> bool:
    """Whether most of the weights look trained rather than freshly drawn."""
    sizes, trained = 0, 0
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            sizes += weight.numel()
            trained += weight.numel() * (not shape_of_a_draw(weight))
        counted = getattr(module, "num_batches_tracked", None)
        if counted is not None and int(counted) > 20:
            return True
    return sizes > 0 and trained > 0.7 * sizes


def shape_of_a_draw(weight: Tensor) -> bool:
    """Whether the values are distributed as a normal or uniform draw of any size."""
    w = weight.detach().float().flatten()
    std = float(w.std()) if len(w) > 63 else 0.0
    if std < 1e-12:
        return True
    kurtosis = float(((w - w.mean()) / std).pow(4).mean())
    noise = 5 * (24 / len(w)) ** 0.5
    uniform = float(w.abs().max()) < 1.732 * std * (1 + 1.5 / len(w) ** 0.5)
    return uniform or abs(kurtosis - 3) < noise + 0.1  # type: ignore[no-any-return]


def looks_drawn(weight: Tensor) -> bool:
    """Whether a weight looks like a draw from one of the usual initializations.

    A uniform draw stays inside its bound and has the kurtosis 1.8, a normal one 3, a truncated
    normal between them; the first training steps push weights over the bound, later ones widen
    the tails.
    """
    w = weight.detach().float().flatten()
    if len(w) < 64:
        return True
    std = float(w.std())
    if std < 1e-12 or float(w.abs().max()) == float(w.abs().min()):
        return True
    fan_in = weight[0].numel()
    fan_out = weight.numel() // max(1, weight.shape[1])
    error = 4 / (2 * len(w)) ** 0.5 + 0.005
    kurtosis = float(((w - w.mean()) / std).pow(4).mean())
    noise = 5 * (24 / len(w)) ** 0.5 + 0.02
    stds = [
        gain / fan**0.5
        for gain in (3**-0.5, 1.0, 2**0.5, 5 / 3, 2 / 3**0.5, 0.5)
        for fan in (fan_in, fan_out, (fan_in + fan_out) / 2)
    ] + [0.01, 0.02, 0.05, 0.1, 0.5, 1.0]
    usual = any(abs(std / usual - 1) < error for usual in stds)
    uniform = abs(kurtosis - 1.8) < noise and float(w.abs().max()) < std * 3**0.5 * 1.003 * (
        1 + error
    )
    normal = abs(kurtosis - 3) < noise
    return (usual and (normal or uniform or 1.7 < kurtosis < 3)) or uniform
