"""The inputs say nothing about the targets.

## Why it matters
When labels are shuffled or paired with the wrong images, a net can only learn by heart: train
accuracy creeps up, val accuracy stays at chance.

## What to do
Print ten samples with their labels. Re-pair them: sort files and labels by the same key, and
shuffle both with the same permutation.

## When it is wrong
When the signal is too faint for plain classifiers on the samples seen, and the net is still blind
to it; the rule keeps silent as soon as any of them, or the net after a few dozen steps on images
held out, beats chance.

Evidence: statistical: the chance that classifiers score so low although inputs were worth a tenth
more than guessing; Holm over the report.

Source: cross-validated nearest neighbours and ridge regression against the commonest class.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import binom

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


def knowing(found: HeldOut) -> bool:
    """Whether the trained net beats chance on images that it was not trained on."""
    sides = (
        (found.train, found.images, found.chance),
        (found.val, found.val_images, found.val_chance),
    )
    return any(n > 0 and binom.sf(round(right * n) - 1, n, c) < 1e-3 for right, n, c in sides)


class LabelsUninformative(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples, Learnable)
    also: ClassVar[tuple[type, ...]] = (LossFacts, HeldOut)
    least: Count = 250  # samples tested, below which a weak signal could hide
    chance_level: Fraction = 0.02
    gain: Fraction = 0.1  # over guessing, that inputs which say anything are taken to give

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Learnable]
        if found.tested < self.least or found.classes < 2:
            return
        right = max([found.train, *found.notes.values()])
        p = float(binom.sf(round(right * found.tested) - 1, found.tested, found.chance))
        facts = seen.get(LossFacts)
        knows = (
            facts is not None
            and facts.accuracy
            > found.chance + 4 * (found.chance * (1 - found.chance) / max(1, facts.images)) ** 0.5
        )
        by_val = (
            found.tested_val
            and binom.sf(round(found.val * found.tested_val) - 1, found.tested_val, found.chance)
            < 1e-3
        )
        learned = seen.get(HeldOut)
        knows = knows or (learned is not None and knowing(learned))
        if p < self.chance_level or knows or by_val or right > found.chance * 1.3:
            return
        informed = min(0.99, found.chance + self.gain)
        none = float(binom.cdf(round(right * found.tested), found.tested, informed))
        yield self.finding(
            "train targets",
            accuracy=f"{right:.1%} by plain classifiers on {found.tested} held-out train samples",
            guessing=f"{found.chance:.1%} by always naming the commonest class",
            chance=none,
            fix="re-pair inputs and targets: print ten samples with their labels, and shuffle "
            "both by one permutation",
        )
