"""Val loss rises while train loss falls.

## Why it matters
From here on the net learns the train set by heart; later checkpoints are worse.

## What to do
Keep the checkpoint of the lowest val loss; add augmentation, dropout or weight decay, or train
for fewer epochs.

## When it is wrong
Val loss can rise while val accuracy still does: the net grows overconfident, which label
smoothing cures; the rule then only advises.

Evidence: statistical: the slope of the validation loss; Holm over the report.

Source: slope of val loss after its minimum, with its t-test. Lecture: Choosing
hyperparameters, step 6.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import linregress

from goodfit.check.finding import Finding
from goodfit.check.probes.curves import Curves
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


class Overfitting(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Curves,)
    rise: Fraction = 0.05  # of val loss above its minimum
    points: Count = 4  # evaluations after the minimum

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        c = seen[Curves]
        if len(c.val_losses) < self.points + 1 or len(c.losses) < 2:
            return
        best = min(range(len(c.val_losses)), key=c.val_losses.__getitem__)
        after, steps = c.val_losses[best:], c.val_steps[best:]
        if len(after) <= self.points:
            return
        fit = linregress(steps, after)
        low = c.val_losses[best]
        at_best = min(c.losses, key=lambda v: abs(c.steps[c.losses.index(v)] - c.val_steps[best]))
        if fit.slope <= 0 or after[-1] < low * (1 + self.rise) or c.losses[-1] >= at_best:
            return
        rising = bool(c.val_accuracies) and c.val_accuracies[-1] >= max(c.val_accuracies) - 1e-9
        yield self.finding(
            f"step {c.val_steps[best]}",
            severity="advice" if rising else "warning",
            val_loss=f"{low:.3g} there, {after[-1]:.3g} now",
            train_loss=f"{at_best:.3g} there, {c.losses[-1]:.3g} now",
            chance=float(fit.pvalue) / 2,
            fix="keep the checkpoint of this step; add augmentation or weight decay, or train "
            "for fewer steps",
        )
