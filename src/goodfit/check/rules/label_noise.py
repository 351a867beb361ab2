"""A good part of the labels contradicts their neighbours.

## Why it matters
Wrong labels cap accuracy and are learned by heart late in training.

## What to do
Look at the samples that a cross-validated model confidently contradicts and correct them; until
then use label smoothing and stop early.

## When it is wrong
Hard classes overlap by nature, so the rule asks that neighbours agree firmly with each other and
still outvote the label.

Source: Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import binomtest

from goodfit.check.finding import Finding
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class LabelNoise(Rule):
    needs: ClassVar[tuple[type, ...]] = (Learnable, Samples)
    most: Fraction = 0.2  # lower bound of the share of labels that firm neighbourhoods outvote
    gap: Fraction = 0.15  # accuracy on val above that on held-out train

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Learnable]
        fix = (
            "correct the labels that a cross-validated model confidently contradicts; until "
            "then use label smoothing 0.1"
        )
        if found.agreed >= 100 and found.agreed > 0.3 * found.tested:
            wrong = round(found.agreement * found.agreed)
            low = float(binomtest(wrong, found.agreed).proportion_ci(0.999, "exact").low)
            if low > self.most and found.train > 1.6 * found.chance:
                yield self.finding(
                    "train targets",
                    outvoted=f"{found.agreement:.0%} of {found.agreed} labels in firm "
                    f"neighbourhoods, at least {low:.0%}",
                    fix=fix,
                    patch={"loss.smoothing": 0.1},
                )
                return
        if found.tested_val >= 200 and found.tested >= 200 and not seen[Samples].augmented:
            gap = found.val - found.train
            error = (0.5 / found.tested_val + 0.5 / found.tested) ** 0.5
            if gap > max(self.gap, 5 * error) and found.val_within > found.train + self.gap:
                yield self.finding(
                    "train targets",
                    train=f"{found.train:.0%} held-out accuracy of a plain classifier",
                    val=f"{found.val:.0%} on val, so the inputs are the same and train labels "
                    f"are worse",
                    fix=fix,
                )
