"""The scores are the same for every input.

## Why it matters
The model has stopped looking, and its loss is that of the class shares.

## What to do
Find the first layer whose output no longer varies (its evidence here) and mend it: dead units, a
zero scale, an input that is not used.

## When it is wrong
A zero-initialized head starts constant; the rule looks again after some real steps.

Evidence: measured: scores of different images agree to within 1e-4 of their size, far below what
any working net shows.

Source: variance between samples against size (F-test).
"""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


def variation(scores: Tensor) -> float:
    """Spread between samples over the size of the scores."""
    size = float(scores.square().mean().sqrt())
    return (
        float(scores.std(0).square().mean().sqrt()) / max(size, 1e-12) if len(scores) > 1 else 1.0
    )


class ConstantOutput(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Flow,)
    least: Positive = 1e-4

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow = seen[Flow]
        if flow.scores is None or not bool(flow.scores.isfinite().all()):
            return
        before = variation(flow.scores)
        after = (
            variation(flow.scores_after)
            if flow.scores_after is not None and bool(flow.scores_after.isfinite().all())
            else None
        )
        now = before if after is None else after
        if now > self.least or before > 10 * self.least:
            return
        flat = [
            la
            for la in (flow.layers_after or flow.layers)
            if la.spread_out < 1e-5 * max(la.rms_out, 1e-12)
        ]
        yield self.finding(
            flat[0].name if flat else "the output",
            variation=f"{now:.1e} of the scores' size between samples",
            layers="does not vary from here on" if flat else "the layers vary, the output does not",
            fix=f"mend {flat[0].name}: give it random weights and let its input through"
            if flat
            else "let the output depend on the layers",
        )
