"""Going down the loss makes the model worse.

## Why it matters
A forgotten minus, in the loss or in a handmade step, or maximize=True, trains toward the wrong
answers with full speed.

## What to do
Minimize the negative log-likelihood: turn the sign of the loss, or drop maximize=True. A handmade
step subtracts the gradient.

## When it is wrong
Adversarial training turns signs on purpose, in the adversary only.

Evidence: measured: the sign of the loss's gradient for each sample's true score; nine of ten
samples must agree, which noise would give once in 1e5 for 16. A step is uphill when what it did to
the weights, times the gradient, promises a higher loss: at every one of the steps tried.

Source: sign test over samples of the loss's gradient at the true score.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.training import Run, Training
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.rules.lr_too_high import shown
from goodfit.check.seen import Seen


class LossSign(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (LossFacts, Wiring)
    also: ClassVar[tuple[type, ...]] = (Training,)
    away: Annotated[float, Field(ge=-1, le=0)] = -0.5  # correlation of scores with their targets

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts, wiring = seen[LossFacts], seen[Wiring]
        turned = any(bool(group.settings.get("maximize")) for group in wiring.groups)
        wrong = facts.punished > 0.9 and facts.judged >= 8 and facts.elsewhere < 0.9
        if wrong and not turned:
            yield self.finding(
                "the loss",
                punished=f"the true score of {facts.punished:.0%} of {facts.judged} samples",
                fix="turn the sign of the loss: return -loss",
            )
        elif facts.towards < self.away and not turned:
            yield self.finding(
                "the loss",
                moves=f"scores away from their targets: correlation {facts.towards:.2f}",
                fix="turn the sign of the loss, or take one minus the similarity",
            )
        elif turned and not wrong:
            yield self.finding(
                "the optimizer",
                maximize="True",
                rewarded=f"the loss wants higher true scores for {facts.rewarded:.0%} of the "
                f"samples when it falls",
                fix="remove maximize=True from the optimizer",
            )
        elif any(float(group.settings.get("lr", 1.0)) < 0 for group in wiring.groups):
            yield self.finding(
                "the optimizer", lr="negative", fix="give the learning rate a positive sign"
            )
        elif not wrong and (training := seen.get(Training)) and uphill(training.own):
            own = training.own
            yield self.finding(
                "the optimizer",
                step=f"against the gradient's promise in {len(own.predicted)} of "
                f"{len(own.predicted)} steps",
                loss=shown(own),
                fix="subtract the gradient in step: p.sub_(lr * p.grad)",
            )


def uphill(run: Run) -> bool:
    """Whether every step of the optimizer went where the gradient says that the loss rises.

    Momentum overshoots and weight decay pulls its own way, but neither in every step; and a loss
    that falls all the same was not climbed.
    """
    steps = run.predicted
    up = len(steps) >= 8 and all(promise < 0 for promise in steps)
    return run.factor is not None and up and run.end > run.start
