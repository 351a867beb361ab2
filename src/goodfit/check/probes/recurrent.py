"""Inside fused recurrent layers: how open their gates are, and whether their units differ.

A fused call shows its states only. But each gate is a function of the step's input and the state
before it, so from the states and the weights all gates follow at once, without a loop.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from goodfit.check.probes.numbers import slope_of

ALIKE = 1e-4  # of the largest state: units closer than this at every step are one unit


def inside(func: Any, op: str, args: Sequence[Any], states: Tensor) -> dict[str, Any]:
    """What rules ask for about a recurrent call.

    open: slope of the most open of its gates over the usual one, least over its layers.
    twins: all units (of each direction) have the same states.
    """
    with torch.no_grad(), torch._C.DisableTorchFunction():
        return {"open": _open(func, op, args), "twins": twins(states.detach().float())}


def twins(states: Tensor) -> bool:
    """Whether all units have the states of the first or the last one, which are not zero."""
    units = states.reshape(-1, states.shape[-1])
    size = units.abs().max() if units.numel() else torch.zeros(())
    if units.shape[1] < 4 or not bool(size > 0) or not bool(size.isfinite()):
        return False
    gaps = [(units - units[:, [end]]).abs().amax(0) for end in (0, -1)]
    return bool((torch.minimum(*gaps) <= ALIKE * size).all())


def _open(func: Any, op: str, args: Sequence[Any]) -> float:
    """1 where it cannot be told: packed sequences, projected states."""
    if op == "rnn_relu" or len(args) != 9 or not isinstance(args[2], (list, tuple)):
        return 1.0
    x, start, weights, biased, layers, _, _, both, batch_first = args
    each = (4 if biased else 2) * (2 if both else 1)
    if x.ndim != 3 or len(weights) != each * layers:
        return 1.0
    least = 1.0
    for layer in range(layers):
        own = list(weights[layer * each : (layer + 1) * each])
        part = slice(layer * (1 + both), (layer + 1) * (1 + both))
        first = tuple(s[part] for s in start) if op == "lstm" else start[part]
        out = func(x, first, own, biased, 1, 0.0, False, both, batch_first)[0]
        h = first[0][0] if op == "lstm" else first[0]
        least = min(least, max(_slopes(op, x, out, h, own, biased, batch_first)))
        x = out
    return least


def _slopes(
    op: str, x: Tensor, out: Tensor, h: Tensor, weights: list[Tensor], biased: bool, first: bool
) -> list[float]:
    """Slopes of the gates of the layer that reads forward."""
    steps = 1 if first else 0
    width = h.shape[-1]
    before = torch.cat(
        [h.unsqueeze(steps), out[..., :width].narrow(steps, 0, out.shape[steps] - 1)], steps
    )
    read, kept = x @ weights[0].T, before @ weights[1].T
    if biased:
        read, kept = read + weights[2], kept + weights[3]
    if op == "gru":
        (r, z, n), (r2, z2, n2) = read.chunk(3, -1), kept.chunk(3, -1)
        gates = [("sigmoid", r + r2), ("sigmoid", z + z2), ("tanh", n + (r + r2).sigmoid() * n2)]
    elif op == "lstm":
        kinds = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        gates = list(zip(kinds, (read + kept).chunk(4, -1), strict=True))
    else:
        gates = [("tanh", read + kept)]
    return [slope_of(kind, value) for kind, value in gates]
