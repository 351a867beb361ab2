"""The number of outputs does not fit the classes.

## Why it matters
Too few outputs raise an error or merge classes; too many waste the softmax on classes that never
occur, often a head left from another data set.

## What to do
Give the last layer as many outputs as there are classes.

## When it is wrong
When more classes will come later, or only a few samples were looked at.

Evidence: exact: outputs and labels are counted.

Source: exact; occurrence of classes by chance.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count


class OutputWidth(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples, DryRun)
    also: ClassVar[tuple[type, ...]] = (Flow,)
    per_class: Count = 8  # samples looked at, per output, before a class can be called missing

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data, dry, flow = seen[Samples], seen[DryRun], seen.get(Flow)
        if len(dry.scores) != 2:
            return
        heads = [la.name for la in flow.layers if la.head] if flow is not None else []
        where, width = heads[-1] if heads else "the last layer", dry.scores[1]
        sides = [s for s in (data.train, data.val) if s is not None]
        soft = [
            s.raw.shape[1]
            for s in sides
            if s.raw is not None and s.raw.ndim == 2 and s.raw.is_floating_point()
        ]
        severity: Severity = "error"
        if soft and soft[0] != width and soft[0] > 1:
            yield self.finding(
                where,
                severity=severity,
                outputs=width,
                targets=f"{soft[0]} columns",
                fix=f"give {where} {soft[0]} outputs",
                patch={},
            )
            return
        labels = [
            s.y[s.y >= 0]
            for s in sides
            if s.y is not None
            and s.raw is not None
            and not (s.raw.ndim == 2 and s.raw.shape[1] > 1)
        ]
        if not labels or not all(len(y) for y in labels):
            return
        high, low = max(int(y.max()) for y in labels), min(int(y.min()) for y in labels)
        classes = high + 1
        refused = "out of bounds" in dry.error  # by a loss that wants a score for each class
        if width == 1 and (classes > 2 or refused):
            yield self.finding(
                where,
                severity=severity,
                outputs=1,
                labels=f"0 to {high}",
                fix=f"give {where} {classes} outputs and use cross-entropy",
            )
        elif 1 < width < classes and high - low + 1 > width:
            yield self.finding(
                where,
                severity=severity,
                outputs=width,
                labels=f"{low} to {high}",
                fix=f"give {where} {classes} outputs",
            )
        elif (
            width > classes
            and classes > 1
            and sum(map(len, labels)) > self.per_class * width
            and not soft
        ):
            yield self.finding(
                where,
                outputs=width,
                labels=f"{low} to {high} in {sum(map(len, labels))} samples",
                fix=f"give {where} {classes} outputs",
            )
