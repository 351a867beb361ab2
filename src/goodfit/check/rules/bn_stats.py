"""Batch norm's running statistics do not fit the data that evaluation sees.

## Why it matters
Training uses the batch's statistics, evaluation the running ones: when they differ, the tested
net is another one.

## What to do
Use momentum 0.1 (torch's is the share of the new value: 0.9 means 0.1 there), and recalibrate:
reset the statistics and run the train set once in training mode.

## When it is wrong
After few steps slow averages lag behind by nature: untrained statistics and slow but sound
momenta are skipped.

Evidence: measured: settings are read; statistics are compared with recalibrated ones of the same
weights, and a gain in accuracy must exceed three standard errors.

Source: Ioffe and Szegedy 2015; Kullback-Leibler divergence per channel, accuracy before and after
recalibration.
"""

from collections.abc import Iterator
from math import sqrt
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.norms import Norms
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive


class BnStats(Rule):
    severity: ClassVar[Severity] = "warning"
    needs: ClassVar[tuple[type, ...]] = (Norms,)
    divergence: Positive = 0.5
    loss: Fraction = 0.1  # accuracy that recalibration must win
    fastest: Fraction = 0.8  # momentum above which one batch decides
    slowest: Positive = 2e-3

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Norms]
        fast = [n for n in found.norms if n.momentum >= self.fastest and not n.frozen]
        slow = [
            n
            for n in found.norms
            if 0 <= n.momentum < self.slowest and not n.frozen and n.tracked >= 0 and n.training
        ]
        if slow:
            yield self.finding(
                slow[0].name,
                momentum=f"{slow[0].momentum:g} in {len(slow)} of {len(found.norms)} batch "
                f"norms: the statistics never arrive",
                severity="error" if slow[0].momentum == 0 else "warning",
                fix="set momentum=0.1",
            )
        elif fast:
            yield self.finding(
                fast[0].name,
                momentum=f"{fast[0].momentum:g} in {len(fast)} of {len(found.norms)} batch "
                f"norms: evaluation uses the last batch's statistics",
                fix="set momentum=0.1 (torch's momentum is the share of the new value)",
            )
        large = [n for n in found.norms if n.eps_share > 0.5]
        if large:
            yield self.finding(
                large[0].name,
                eps=f"makes up {large[0].eps_share:.0%} of the variance",
                fix="set eps=1e-5",
            )
        settled = [
            n
            for n in found.norms
            if not n.fresh
            and n.tracked >= 0
            and not (n.momentum >= 0 and n.tracked * n.momentum < 3 and n.tracked > 0)
        ]
        worst = max(settled, key=lambda n: n.divergence, default=None)
        if worst is None or worst.divergence < self.divergence:
            return
        gained = found.recalibrated - found.accuracy
        noise = sqrt(0.5 / max(1, found.images))
        worse = (
            found.loss > 1.3 * found.loss_recalibrated
            and found.loss - found.loss_recalibrated > 0.2
        )
        if gained > max(self.loss, 3 * noise) or (worse and worst.divergence > 2):
            yield self.finding(
                worst.name,
                severity="error" if gained > 0.3 else "warning",
                divergence=f"{worst.divergence:.2g} between running and true statistics",
                accuracy=f"{found.accuracy:.0%}, after recalibration {found.recalibrated:.0%}",
                fix="reset_running_stats() on every batch norm and run the train set once in "
                "training mode without updates",
            )
