"""The loss does not reward the true class.

## Why it matters
Then falling loss and rising accuracy have nothing to do with each other: targets are shifted or
shuffled against the scores, a softmax runs over the batch, or (n, 1) outputs and (n,) targets
make a table of all pairs.

## What to do
Compare three rows of scores, targets and gradients by hand; take softmax and sums over dim=1; give
outputs and targets one shape.

## When it is wrong
Losses on pairs or triplets of samples depend on the batch by design: silence the rule for them.

Evidence: statistical: binomial over samples, Holm over the report; that a sample's gradient turns
with the others' scores is measured; that targets may change places is exact.

Source: sign test over samples of the loss's gradient at the true score.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import binom

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class LossTargetMismatch(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (LossFacts,)
    least: Fraction = 0.75  # share of samples whose true score the loss should want higher
    turn: Fraction = 0.05  # 1 - cosine of a sample's gradient when only the others change

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts = seen[LossFacts]
        if facts.unpaired:
            yield self.finding(
                "the loss",
                targets="may change places between samples: the loss stays the same to the last "
                "digits",
                fix="give outputs and targets one shape, output.squeeze(1) or target[:, None]: "
                "(n, 1) and (n,) make a table of all pairs",
            )
            return
        if facts.judged < 8:
            return
        sign_error = facts.punished > 0.9 and facts.elsewhere < 0.9
        low = float(binom.cdf(round(facts.rewarded * facts.judged), facts.judged, 0.95))
        if facts.rewarded < self.least and not sign_error and low < 1e-6:
            yield self.finding(
                "the loss",
                rewarded=f"the true score of {facts.rewarded:.0%} of {facts.judged} samples",
                expected="nearly all",
                chance=low,
                fix="pair scores and targets of the same sample, and take softmax over "
                "classes (dim=1) in the loss",
            )
        elif facts.depends_on_others > self.turn:
            yield self.finding(
                "the loss",
                turned=f"a sample's gradient turns by {facts.depends_on_others:.2f} (1 - "
                f"cosine) when only other samples change",
                fix="take softmax, max and sums in the loss over classes (dim=1), not over "
                "the batch (dim=0)",
            )
