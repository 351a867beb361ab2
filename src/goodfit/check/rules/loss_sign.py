"""Going down the loss makes the model worse.

## Why it matters
A forgotten minus, or maximize=True, trains toward the wrong answers with full speed.

## What to do
Minimize the negative log-likelihood: turn the sign of the loss, or drop maximize=True.

## When it is wrong
Adversarial training turns signs on purpose, in the adversary only.

Evidence: measured: the sign of the loss's gradient for each sample's true score; nine of ten
samples must agree, which noise would give once in 1e5 for 16.

Source: sign test over samples of the loss's gradient at the true score.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class LossSign(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (LossFacts, Wiring)

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
