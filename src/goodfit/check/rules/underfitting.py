"""Most of the run is over and the train loss has hardly fallen.

## Why it matters
The net is too small, too strongly regularized, or its learning rate is wrong; more epochs of the
same will not help.

## What to do
Turn augmentation and dropout down first, then raise the learning rate, then widen the model.

## When it is wrong
With mixing augmentation and label smoothing the train loss has a high floor; the rule compares
with a net that knows nothing.

Evidence: measured: read from the curve of this run.

Source: train loss against that of equal scores. Lecture: Choosing hyperparameters, step 6.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.curves import Curves
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class Underfitting(Rule):
    needs: ClassVar[tuple[type, ...]] = (Curves,)
    done: Fraction = 0.5  # of the run before it is judged
    left: Fraction = 0.92  # of the loss of a net that knows nothing

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        c = seen[Curves]
        if c.total is None or len(c.losses) < 6 or c.steps[-1] < self.done * c.total:
            return
        level = c.chance if c.chance is not None else c.losses[0]
        recent = c.losses[-max(2, len(c.losses) // 5) :]
        now = sum(recent) / len(recent)
        if now > self.left * level > 0:
            yield self.finding(
                f"step {c.steps[-1]}",
                train_loss=f"{now:.3g}",
                knows_nothing=f"{level:.3g}",
                done=f"{c.steps[-1] / c.total:.0%} of the run",
                fix="turn augmentation and dropout down; if that does not help, raise the "
                "learning rate threefold or widen the model",
            )
