"""The train loss swings from window to window instead of falling.

## Why it matters
The steps overshoot: the mean of the swing is higher than the floor of the valley.

## What to do
Lower the learning rate threefold, or use larger batches.

## When it is wrong
Cyclic schedules swing on purpose, once per cycle.

Evidence: measured: read from the curve of this run.

Source: sign changes of the detrended curve and its size, against independent noise.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from scipy.stats import binom

from goodfit.check.finding import Finding
from goodfit.check.probes.curves import Curves
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


class LossOscillation(Rule):
    needs: ClassVar[tuple[type, ...]] = (Curves,)
    points: Count = 16
    swing: Fraction = 0.25  # of the level, between neighbouring windows

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        c = seen[Curves]
        if len(c.losses) < self.points:
            return
        losses = np.asarray(c.losses[-self.points :])
        moves = np.diff(losses)
        swing = float(np.abs(moves).mean() / max(abs(float(losses.mean())), 1e-12))
        falls = float(losses[: self.points // 2].mean() - losses[self.points // 2 :].mean())
        turns = int((moves[1:] * moves[:-1] < 0).sum())
        p = float(binom.sf(turns - 1, len(moves) - 1, 2 / 3))  # independent noise turns in 2 of 3
        if swing > self.swing and falls < 0.05 * abs(float(losses.mean())) and p < 0.5:
            yield self.finding(
                f"step {c.steps[-1]}",
                swing=f"{swing:.0%} of the loss from window to window, {turns} turns in "
                f"{len(moves) - 1}",
                fix=f"lower the learning rate to {c.lr / 3:.2g}"
                if c.lr
                else "lower the learning rate threefold",
                patch={"optimizer.lr": float(f"{c.lr / 3:.3g}")} if c.lr else {},
            )
