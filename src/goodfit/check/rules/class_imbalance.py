"""Some classes are far rarer than others.

## Why it matters
Predicting the common class is the quickest way down, and rare classes are learned last or never.
Plain accuracy hides it. Class weights that were turned the wrong way make the rare rarer: they are
found by the gradients that the loss gives a sample of each class.

## What to do
Weigh the loss by inverse class frequency or sample classes evenly, and judge by balanced accuracy.

## When it is wrong
When the loss or the sampler already weighs classes (the rule looks for it), or when rarity is the
truth and plain accuracy the goal.

Evidence: exact counts where the whole train set was seen; otherwise a binomial chance, Holm over
the report.

Source: Cui et al. 2019, arXiv:1901.05555; exact interval of the ratio.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from scipy.stats import beta, binom

from goodfit.check.finding import Finding
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive


class ClassImbalance(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    also: ClassVar[tuple[type, ...]] = (LossFacts,)
    most: Positive = 10.0  # commonest over rarest class
    mention: Positive = 4.0
    rarer: Positive = 2.0  # commonest over rarest class, from which its weight is looked at
    lighter: Fraction = 0.4  # weight of a sample of the rarest class over one of the commonest

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        y = data.train.y
        if y is None or len(y) < 40:
            return
        counts = torch.bincount(y[y >= 0])
        present = counts.nonzero()[:, 0]
        if len(present) < 2 or len(y) < 8 * len(present):
            return
        rare = int(present[counts[present].argmin()])
        common, fewest = int(counts.max()), int(counts[rare])
        ratio = common / fewest
        facts = seen.get(LossFacts)
        weights = facts.weights if facts is not None else {}
        often = weights.get(int(counts.argmax()), 0.0)
        if ratio > self.rarer and weights.get(rare, often) < self.lighter * often:
            yield self.finding(
                f"class {rare}",
                rarest=f"{fewest} samples of {len(y)}",
                weight=f"{weights[rare] / often:.2g} of the commonest class's in the loss",
                fix="weigh the classes by n / (classes * count), not by their frequency",
            )
            return
        if data.weighted:
            return
        share = float(beta.ppf(0.01, common, fewest + 1))
        sure = share / (1 - share)
        fair = 0.6 * self.most
        p = float(binom.sf(common - 1, common + fewest, fair / (1 + fair)))
        if ratio > self.most and sure > 0.6 * self.most:
            weight = f"{len(y) / (len(present) * fewest):.2f}"
            yield self.finding(
                f"class {rare}",
                chance=None if data.train.complete else p,
                rarest=f"{fewest} samples of {len(y)}",
                commonest=f"class {int(counts.argmax())} has {common}, {ratio:.0f} times as many",
                fix=f"weigh the loss by n / (classes * count), here {weight} for class "
                f"{rare}, or sample the classes evenly",
            )
        elif ratio > self.mention and sure > self.mention:
            yield self.finding(
                f"class {rare}",
                severity="advice",
                rarest=f"{fewest} samples of {len(y)}",
                commonest=f"{common}",
                fix="judge by balanced accuracy",
            )
