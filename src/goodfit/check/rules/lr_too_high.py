"""The learning rate is too high: the loss rises, or falls far less than at a tenth of it.

## Why it matters
Steps longer than the curvature allows jump over the valley; units die and the loss diverges.

## What to do
Divide the learning rate by ten (the finding names the highest that worked), or warm up longer.

## When it is wrong
Some nets recover from a bad start after hundreds of steps; the rule trains only a few dozen.

Evidence: measured: an experiment, the same images and noise at several learning rates, under a
fixed seed. A parameter group that is more than 20 times as fast as all others is slowed to the
next one's rate.

Source: short trainings of clones at 1, 1/10 and 1/100 of the learning rate; Armijo 1966.
"""

import math
from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.training import Run, Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def shown(run: Run) -> str:
    """A run in a few words."""
    if not run.finite:
        return f"not finite after {len(run.losses)} steps"
    return f"{run.start:.3g} to {run.end:.3g} in {len(run.losses)} steps"


class LrTooHigh(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Training,)
    rise: Fraction = 0.02  # relative progress below which a run counts as failed
    empty: Fraction = 0.97  # of the loss of constant scores, above which nothing was learned
    better: Fraction = 0.05  # progress that a slower run must make

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Training]
        own = found.own
        if own.factor is None or own.broke:
            return
        if found.level is not None and found.level.outruns(own):
            yield self.finding(
                found.level_at,
                loss=shown(own) + f" at {found.peak:.3g}",
                level=shown(found.level) + f" at {found.level_lr:.3g}, the next group's rate",
                fix=f"set the learning rate of this parameter group to {found.level_lr:.3g}",
            )
            return
        if own.learns and own.jumped:
            yield from self._jumped(found)
            return
        slower = sorted(
            (r for r in found.others if r.factor is not None and r.factor < 1 and r.finite),
            key=lambda r: -(r.factor or 0),
        )
        good = [r for r in slower if r.progress > self.better or (r.gained > 4 and r.progress > 0)]
        worse = not own.finite or own.progress < self.rise or own.end > 1.5 * max(own.start, 1e-9)
        worse = worse or (found.constant > 0 and own.end > self.empty * found.constant)
        if not good or not worse or (own.finite and own.lowest > 0.35):
            return
        best = good[0]
        if (
            math.isfinite(own.progress)
            and best.progress - own.progress < self.better
            and best.gained < own.gained + 3
        ):
            return
        yield self._slower(found, best)

    def _jumped(self, found: Training) -> Iterator[Finding]:
        """It learns, but its first steps jumped, and a tenth of the rate is far ahead of it."""
        tenth = found.at(0.1)
        if tenth is not None and tenth.outruns(found.own):
            yield self._slower(found, tenth, f", {max(found.own.losses[:10]):.3g} on the way")

    def _slower(self, found: Training, best: Run, way: str = "") -> Finding:
        lr = found.peak * (best.factor or 0.1)
        return self.finding(
            "the optimizer",
            loss=shown(found.own) + f" at {found.peak:.3g}{way}",
            slower=shown(best) + f" at {lr:.3g}",
            fix=f"set the learning rate to {lr:.3g}",
            patch={"optimizer.lr": float(f"{lr:.3g}")},
        )
