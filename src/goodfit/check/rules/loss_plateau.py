"""The train loss has stopped falling at a high level.

## Why it matters
Steps on a plateau are wasted: either the learning rate is too high to go down further, or the net
is done.

## What to do
Lower the learning rate tenfold; if nothing moves, stop.

## When it is wrong
Some plateaus end by themselves after thousands of steps.

Evidence: measured: read from the curve of this run.

Source: slope of the last third of the curve, with its interval.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import linregress

from goodfit.check.finding import Finding
from goodfit.check.probes.curves import Curves
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


class LossPlateau(Rule):
    needs: ClassVar[tuple[type, ...]] = (Curves,)
    points: Count = 12
    fall: Fraction = 0.01  # of the loss, over the last third, below which it counts as flat
    level: Fraction = 0.5  # of the first loss, above which a plateau is worth a word

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        c = seen[Curves]
        size = len(c.losses) // 3
        if size < self.points:
            return
        steps, losses = c.steps[-size:], c.losses[-size:]
        fit = linregress(steps, losses)
        width = steps[-1] - steps[0]
        best = -(fit.slope - 2 * fit.stderr) * width  # the most it may have fallen
        now = sum(losses) / size
        if best < self.fall * now and now > self.level * c.losses[0] and c.lr >= 0.5 * c.peak:
            yield self.finding(
                f"step {steps[0]}",
                severity="advice" if now < 0.7 * c.losses[0] else "warning",
                train_loss=f"{now:.3g}, changed by at most {max(best, 0):.2g} in {width} steps",
                fix=f"lower the learning rate to {c.lr / 10:.2g}",
                patch={"optimizer.lr": c.lr / 10} if c.lr else {},
            )
