"""The program cannot even learn one small batch by heart.

## Why it matters
A net that fails on sixteen images has a bug, not a lack of data.

## What to do
Take the model apart: overfit with the head alone, then add layers from the end, until it fails.

## When it is wrong
Very small models and strong built-in regularization (a bottleneck, heavy noise) cannot learn by
heart; the rule speaks only when nothing else was found.

Evidence: measured: an experiment on one batch under a fixed seed, beside a plain net's on the same
batch.

Source: Karpathy 2019. Lecture: Choosing hyperparameters, step 2.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.overfit import Overfit
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class CannotOverfitBatch(Rule):
    needs: ClassVar[tuple[type, ...]] = (Overfit, Training)
    most: Fraction = 0.6  # accuracy on the batch below which it failed
    reference: Fraction = 0.9  # that a plain network reaches on it

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found, training = seen[Overfit], seen[Training]
        if training.best().learns or found.steps < 40 or not found.reference > self.reference:
            return
        if found.accuracy < self.most and found.end > 0.6 * found.start:
            yield self.finding(
                "the model",
                accuracy=f"{found.accuracy:.0%} on {found.images} images after {found.steps} "
                f"steps, loss {found.start:.3g} to {found.end:.3g}",
                reference=f"{found.reference:.0%} by a plain network",
                fix="overfit this batch with the last layer alone, then add layers from the "
                "end until it fails: the last one added is at fault",
            )
