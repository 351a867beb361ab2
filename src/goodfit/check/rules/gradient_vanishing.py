"""Gradients fade on the way back to the first layers.

## Why it matters
The first layers hardly move while the last ones learn: the net is as good as its random features.

## What to do
Use ReLU or GELU instead of sigmoid, residual connections or normalization, and an
initialization of the right gain.

## When it is wrong
Zero-initialized heads and branches have zero gradients behind them at the first step; the rule
judges after some real steps.

Evidence: measured: gradients on several batches, at the start and after some steps; judged by
orders of magnitude.

Source: Glorot and Bengio 2010; Hochreiter 1991.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.gradients import Grad, Gradients
from goodfit.check.probes.operations import SQUASHERS
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


def in_order(flow: Flow, grads: dict[str, Grad]) -> list[Grad]:
    """Gradients of the weights in the order of execution."""
    names = [node.params[0] for node in flow.start.affine()]
    return [
        grads[n]
        for n in dict.fromkeys(names)
        if n in grads and grads[n].finite and not grads[n].missing
    ]


def relative(grad: Grad) -> float:
    """The gradient's size over the weight's."""
    return grad.rms / max(grad.weight, 1e-12)


class GradientVanishing(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow, Gradients, Training)
    ratio: Positive = 2e-3  # of the first layers' relative gradient to the last's
    error_below: Positive = 1e-5

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow, training = seen[Flow], seen[Training]
        if flow.trained or (training.own.learns and training.own.progress > 0.3):
            return
        start, after = (in_order(flow, g) for g in (seen[Gradients].start, seen[Gradients].after))
        if len(start) < 4:
            return
        rows = [start] + ([after] if len(after) == len(start) else [])
        falls = [
            relative(r[0]) * r[0].weight / max(max(g.rms for g in r[-2:]), 1e-30) for r in rows
        ]
        if not all(0 < f < self.ratio for f in falls):
            return
        squashed = {n.op for n in flow.start.nodes} & SQUASHERS
        how = f"replace {sorted(squashed)[0]} by ReLU, " if squashed else ""
        yield self.finding(
            start[0].name.rpartition(".")[0] or start[0].name,
            gradient=f"{start[0].rms:.1e} at the first layer, {start[-1].rms:.1e} at the last",
            severity="error" if max(falls) < self.error_below else "warning",
            ratio=f"{max(falls):.1e}",
            fix=how
            + "initialize with nn.init.kaiming_normal_, and put a normalization after each layer",
        )
