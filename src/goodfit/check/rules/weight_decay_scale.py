"""Weight decay, or a step that clamps, pulls harder than the data.

## Why it matters
Weights shrink to zero faster than gradients can build them; the net forgets its input.

## What to do
Use 1e-4 to 5e-4 with SGD, 0.01 to 0.1 with AdamW; leave norms and biases out. Take clamps and
projections out of the step.

## When it is wrong
Weights before a normalization do not mind their size; very small learning rates make a large
decay harmless.

Evidence: measured: settings and gradient norms of this program, judged by their ratio; what one
step with zero gradients leaves of the weights, where plain Adam learns and this optimizer does not.

Source: shrink per step lr * decay; penalty gradient against data gradient. Loshchilov and Hutter
2019, arXiv:1711.05101.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.training import Training
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive

DECOUPLED = ("AdamW", "NAdamW", "Lion", "Lamb", "LARS")


class WeightDecayScale(Rule):
    needs: ClassVar[tuple[type, ...]] = (Wiring, Gradients)
    also: ClassVar[tuple[type, ...]] = (Training,)
    shrink: Positive = 2e-3  # share of the weights that one step may remove
    ratio: Positive = 2.0  # penalty gradient over data gradient
    error_above: Positive = 20.0
    kept: Fraction = 0.5  # of the weights' size, that a step without gradients must leave

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        wiring, grads, training = seen[Wiring], seen[Gradients], seen.get(Training)
        if grads.penalty_ratio > self.ratio:
            yield self.finding(
                "the loss",
                severity="error" if grads.penalty_ratio > self.error_above else "warning",
                penalty=f"its gradient past the scores is {grads.penalty_ratio:.3g} times the "
                f"data's",
                fix=f"divide the penalty in the loss by {100 * grads.penalty_ratio:.0e}, or "
                f"use weight_decay=1e-4 instead",
            )
        if training is not None and training.left < self.kept and not training.own.learns:
            yield self.finding(
                "the optimizer",
                severity="error",
                step=f"one with zero gradients leaves {training.left:.0%} of the weights' size",
                reference="plain Adam learns without it",
                fix="take out of the step what clamps, projects or shrinks the weights",
            )
            return
        rows = [
            (p, grads.start[p.name])
            for p in wiring.parameters
            if p.optimized
            and p.weight_decay > 0
            and p.name in grads.start
            and grads.start[p.name].finite
        ]
        if not rows:
            return
        penalty = sum((p.weight_decay * g.weight) ** 2 * g.size for p, g in rows) ** 0.5
        data = sum(g.rms**2 * g.size for _, g in rows) ** 0.5
        decay, lr = max(p.weight_decay for p, _ in rows), max(p.lr for p, _ in rows)
        if training is not None:
            lr = max(lr, training.peak)
        decoupled = wiring.optimizer in DECOUPLED or any(
            g.settings.get("decoupled_weight_decay") for g in wiring.groups
        )
        per_step, ratio = lr * decay, penalty / max(data, 1e-30)
        good = 0.05 if decoupled else 1e-4
        strong = per_step > self.shrink and (
            decay > 0.3 if decoupled else ratio > 0.5 and decay > 5e-3
        )
        if strong or (not decoupled and ratio > self.ratio and decay > 5e-3):
            bad = per_step > 10 * self.shrink or (not decoupled and ratio > self.error_above)
            yield self.finding(
                "the optimizer",
                severity="error" if bad else "warning",
                decay=f"{decay:.3g}",
                shrink=f"{per_step:.2g} of the weights per step",
                penalty=f"{ratio:.2g} times the data's gradient",
                fix=f"set weight_decay={good:g}",
                patch={"optimizer.weight_decay": good},
            )
