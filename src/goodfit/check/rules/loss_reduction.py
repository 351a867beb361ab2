"""The loss is a sum over the batch, an average divided once more, or no single number.

## Why it matters
A sum makes the gradient, and so the step, proportional to the batch size; a learning rate from a
paper is then as many times too high as there are images in a batch. An average that is divided by
the batch once more makes it as many times too low.

## What to do
Average: reduction="mean".

## When it is wrong
A sum divided by a fixed number works as long as the batch size stays; then this is only advice.

Evidence: exact: a batch taken twice has exactly twice, half or a quarter of the loss, or not.

Source: the loss of a batch taken twice, exact.
"""

from collections.abc import Iterator
from math import log
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class LossReduction(Rule):
    needs: ClassVar[tuple[type, ...]] = (LossFacts, DryRun)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts, dry = seen[LossFacts], seen[DryRun]
        if dry.stage == "backward" and "scalar" in dry.error:
            yield self.finding(
                "the loss",
                severity="error",
                shape=dry.loss_shape,
                error=dry.error,
                fix='average it: reduction="mean", or loss.mean()',
            )
        elif abs(facts.doubled - 2) < 1e-3:
            usual = log(max(2, facts.outputs))
            fixed = facts.constant < 2.5 * usual
            yield self.finding(
                "the loss",
                severity="advice" if fixed else "warning",
                doubled="a batch taken twice has twice the loss",
                fix='average over the batch: reduction="mean", with the learning rate as it is',
            )
        elif min(abs(facts.doubled - share) for share in (0.5, 0.25)) < 1e-3:
            yield self.finding(
                "the loss",
                doubled=f"a batch taken twice has {facts.doubled:.3g} of the loss",
                fix="divide by the batch once: the loss is an average already",
            )
