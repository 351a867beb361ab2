"""In evaluation, a sample's scores depend on the other samples of its batch.

## Why it matters
Predictions change with the company, and validation with large batches flatters.

## What to do
Take statistics, softmax and flattening over the sample's own axes: dim=1, x.flatten(1), not
x.view(-1, d).

## When it is wrong
Batch norm without running statistics looks at the batch on purpose; use GroupNorm instead.

Evidence: measured: one sample's scores with the others replaced; only rounding would move them, and
the limit is far above it.

Source: the other samples are replaced, one stays.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.evaluation import Evaluation
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class BatchLeakage(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Evaluation,)
    most: Positive = 1e-3  # change relative to the largest score

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Evaluation]
        if found.leaks > self.most:
            yield self.finding(
                found.leaks_at,
                change=f"{found.leaks:.1%} of the largest score when only other samples change",
                fix="compute over each sample's own axes (dim=1, x.flatten(1)); give batch "
                "norm track_running_stats=True",
            )
