"""The loss has no gradient for all samples of a class, or for most samples: the hard ones.

## Why it matters
The class is never learned: its weight is zero, or its index is the one the loss ignores, or a
margin loss wants -1 where the label is 0. What a net already gets right teaches it nothing.

## What to do
Set ignore_index to a number that is no class (-100), and no class weight to zero. When mining,
keep the largest losses.

## When it is wrong
A background class that is ignored on purpose; self-paced learning, which starts with the easiest.

Evidence: exact: gradients that are zero for every sample of a class, at several random scores;
measured: more than half of the samples have no gradient, and those that have one had the higher
true scores (area under the ROC above 0.8; leaving out the hardest few, as a trimmed loss does, is
no fault).

Source: exact, per class; Mann and Whitney 1947.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class LossIgnoresSamples(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (LossFacts,)
    surely: Fraction = 0.8  # area under the ROC of the true score for who counts
    most: Fraction = 0.5  # of the samples, that a loss may leave out for being hard

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts = seen[LossFacts]
        if facts.judged >= 8 and facts.counted < 1 - self.most and facts.easiest > self.surely:
            yield self.finding(
                "the loss",
                gradient=f"exactly zero for {1 - facts.counted:.0%} of {facts.images} samples, "
                f"those with the lower true scores",
                fix="keep the largest losses, not the smallest: topk(largest=True); or the mean "
                "of all",
            )
        for label, count in facts.ignored.items():
            yield self.finding(
                f"class {label}",
                gradient=f"exactly zero for all its {count} samples",
                fix=f"do not ignore class {label}: ignore_index=-100, a positive class weight, "
                f"and for a margin loss labels of -1 and 1",
            )
