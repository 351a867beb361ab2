"""Evaluation gives other scores for the same input.

## Why it matters
Accuracy then depends on luck, and is lower than it could be: noise that helps training hurts
testing.

## What to do
Draw only in training: F.dropout(x, p, training=self.training); average random pooling over passes.

## When it is wrong
Monte-Carlo dropout and fractional max pooling draw on purpose; average several passes and silence
the rule.

Evidence: exact: two passes over the same inputs, other seeds.

Source: two passes compared.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.evaluation import Evaluation
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class EvalNondeterministic(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Evaluation,)
    most: Positive = 1e-4  # relative difference between two passes

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Evaluation]
        if found.differs > self.most:
            yield self.finding(
                found.random_at,
                difference=f"{found.differs:.1%} of the largest score between two passes",
                fix="draw only in training: pass training=self.training to F.dropout, and "
                "test `if self.training` before drawing",
            )
