"""Train and val number their classes differently.

## Why it matters
The net is right and counted wrong: val accuracy stays at or below chance while train accuracy
rises. Typical when each folder's classes were numbered by themselves.

## What to do
Take the class list of train for val, test and prediction, by name and not by order.

## When it is wrong
When a few classes are so alike that plain classifiers swap them; the rule asks for a renumbering
that wins clearly on samples it was not chosen on.

Evidence: statistical: a sign test over the samples that renumbering moves, times the assignments
tried; Holm over the report.

Source: assignment problem (Kuhn 1955) on one half of val, binomial test on the other.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.optimize import linear_sum_assignment
from scipy.stats import binom

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class LabelMappingMismatch(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Learnable,)
    also: ClassVar[tuple[type, ...]] = (HeldOut,)
    gain: Fraction = 0.15  # accuracy that renumbering must win

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Learnable]
        if found.confusion is None or found.tested_val < 40:
            return
        table = found.confusion
        rows, columns = linear_sum_assignment(-table.numpy())
        moved = [
            (int(r), int(c))
            for r, c in zip(rows, columns, strict=True)
            if r != c and int(table[r, c]) > 0
        ]
        best = float(table[rows, columns].sum()) / found.tested_val
        same = float(table.diagonal().sum()) / found.tested_val
        learned = seen.get(HeldOut)
        if learned is not None and learned.comparable and not learned.renumberable:
            return
        if not moved or best - same < self.gain or best < 1.5 * found.chance:
            return
        won = sum(int(table[r, c]) for r, c in moved)
        lost = sum(int(table[r, r]) for r, _ in moved)
        p = float(binom.sf(won - 1, won + lost, 0.5)) * min(1e6, 2.0 ** len(moved) * len(moved))
        first = moved[0]
        pairs = ", ".join(f"{r} is train's {c}" for r, c in moved[:5])
        if won > 3 * lost + 5:
            yield self.finding(
                f"val class {first[0]}",
                classes=f"val's {pairs}",
                renumbered=f"{best:.0%} accuracy of a plain classifier",
                now=f"{same:.0%}",
                chance=p,
                fix="use the class list of train for val, matched by name",
            )
