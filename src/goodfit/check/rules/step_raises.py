"""Forward, loss, backward or step raises.

## Why it matters
Nothing else can be judged before one step goes through.

## What to do
Mend the place named here; the error is the program's own.

## When it is wrong
When the program needs arguments that check does not give: wrap the model in one that takes x.

Evidence: exact: the error itself.

Source: one step on a clone.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class StepRaises(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (DryRun,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        dry = seen[DryRun]
        if dry.stage:
            yield self.finding(
                dry.where or "the model",
                stage=dry.stage,
                error=dry.error,
                scores=dry.scores or "none",
                targets=dry.targets,
                fix=f"mend {dry.where or 'the model'} so that {dry.stage} goes through on one "
                f"batch",
            )
