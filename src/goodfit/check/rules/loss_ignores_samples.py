"""The loss has no gradient for all samples of a class.

## Why it matters
The class is never learned: its weight is zero, or its index is the one the loss ignores.

## What to do
Set ignore_index to a number that is no class (-100), and no class weight to zero.

## When it is wrong
A background class that is ignored on purpose.

Evidence: exact: gradients that are zero for every sample of a class.

Source: exact, per class.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class LossIgnoresSamples(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (LossFacts,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        for label, count in seen[LossFacts].ignored.items():
            yield self.finding(
                f"class {label}",
                gradient=f"exactly zero for all its {count} samples",
                fix=f"do not ignore class {label}: ignore_index=-100, and give its class "
                f"weight a positive value",
            )
