"""Frozen weights that were never trained, or that are nearly zero.

## Why it matters
A random layer that cannot move throws information away for good. Freezing is for trained weights.

## What to do
Set requires_grad_(True) on the layer, or load the trained weights before freezing.

## When it is wrong
Trained weights frozen on purpose are recognized and left alone, and so are filters made by hand
(a blur, an edge filter, a table of sines: values that repeat or resemble their neighbours, as no
draw does). Fixed random features on purpose are not recognized: silence the rule for them. Frozen
weights near zero are named only where the program learns at no rate.

Evidence: measured: flags are read; that weights look drawn is judged by their moments, many
standard errors from trained ones; that they are nearly zero, by their root mean square.

Source: weights compared with the draws of the usual initializations.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.training import Training
from goodfit.check.probes.wiring import Parameter, Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class FrozenParams(Rule):
    severity: ClassVar[Severity] = "warning"
    needs: ClassVar[tuple[type, ...]] = (Wiring, Flow)
    also: ClassVar[tuple[type, ...]] = (Training,)
    least: Fraction = 1e-3  # root mean square of frozen weights; draws are ten times larger

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        wiring, flow = seen[Wiring], seen[Flow]
        used = {name for node in flow.start.nodes for name in node.params}
        weights = [p for p in wiring.parameters if p.dims > 1 and p.name in used and p.size >= 16]
        frozen = [p for p in weights if not p.wants_grad]
        if not frozen or len(frozen) == len(weights) == 0 or flow.trained:
            return
        training = seen.get(Training)
        tiny = [p for p in frozen if p.rms < self.least]
        if tiny and training is not None and training.own.losses and not training.best().learns:
            yield self._never(tiny, len(weights), f"nearly zero: {tiny[0].rms:.1g} on the average")
            return
        drawn = [p for p in frozen if p.drawn and not p.designed]
        if sum(p.size for p in drawn) <= 0.5 * sum(p.size for p in frozen):
            return
        moved = any(row["tracked"] > 20 for row in wiring.norms.values())
        if moved and len(frozen) > 0.5 * len(weights):
            return
        yield self._never(drawn, len(weights), "look freshly drawn, not trained")

    def _never(self, bad: list[Parameter], count: int, look: str) -> Finding:
        first = bad[0]
        return self.finding(
            first.module or first.name,
            frozen=f"{len(bad)} of {count} weights: {', '.join(p.name for p in bad[:3])}",
            weights=look,
            fix=f"model.get_submodule('{first.module}').requires_grad_(True) before the "
            f"optimizer is made, or load trained weights first",
        )
