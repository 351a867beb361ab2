"""A good part of the labels contradicts their neighbours.

## Why it matters
Wrong labels cap accuracy and are learned by heart late in training.

## What to do
Look at the samples that a cross-validated model confidently contradicts and correct them; until
then use label smoothing and stop early.

## When it is wrong
Hard classes overlap by nature. Then sure predictions are right and the unsure ones are not; where
labels are wrong at random, the surest predictions are contradicted as often as others. The rule
asks for that flat curve, or for val labels that the same classifier predicts far better. Augmented
inputs are not judged: strong augmentation bends the curve in the same way. Nor are labels that the
net, after a few dozen steps, predicts too well on held-out images for so many to be wrong.

Evidence: statistical: binomial for contradicted sure predictions, normal for the gap between train
and val; Holm over the report.

Source: Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import binom, norm

from goodfit.check.finding import Finding
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def predicted(found: HeldOut, share: float) -> bool:
    """Whether the net errs on held-out labels less often than if this share of them were wrong."""
    errors = round((1 - found.train) * found.images) if found.images else 0
    return bool(found.images >= 30 and binom.cdf(errors, found.images, share) < 1e-3)


class LabelNoise(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Learnable, Samples)
    also: ClassVar[tuple[type, ...]] = (HeldOut,)
    most: Fraction = 0.15  # share of sure predictions that labels may contradict
    flat: Fraction = 0.8  # contradictions of the surest tenth over those of the surest quarter
    clean: Fraction = 0.75  # accuracy that the classifier must have on the labels that are right
    gap: Fraction = 0.15  # accuracy on val above that on held-out train

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Learnable]
        if seen[Samples].augmented:
            return
        learned = seen.get(HeldOut)
        fix = (
            "correct the labels that a cross-validated model confidently contradicts; until "
            "then use label smoothing 0.1"
        )
        hits, usual = round(found.sure_wrong * found.sure) if found.sure else 0, self.most
        p = float(binom.sf(hits - 1, found.sure, usual)) if found.sure >= 50 else 1.0
        clean = 1 - (found.wrong - found.surest_wrong) / max(1e-9, 1 - found.surest_wrong)
        flat = found.surest_wrong >= self.flat * found.sure_wrong
        acquitted = learned is not None and predicted(learned, found.sure_wrong)
        noisy = p < 1e-3 and flat and clean > self.clean and found.train > 1.6 * found.chance
        if noisy and not acquitted:
            yield self.finding(
                "train targets",
                contradicted=f"{found.sure_wrong:.0%} of the {found.sure} held-out labels that a "
                f"plain classifier is surest about, {found.wrong:.0%} of all",
                surest=f"{found.surest_wrong:.0%} of the surest tenth: being sure does not help",
                chance=p,
                fix=fix,
                patch={"loss.smoothing": 0.1},
            )
            return
        if found.tested_val >= 200 and found.tested >= 200:
            gap = found.val - found.train
            error = (0.5 / found.tested_val + 0.5 / found.tested) ** 0.5
            if gap > max(self.gap, 5 * error) and found.val_within > found.train + self.gap:
                yield self.finding(
                    "train targets",
                    chance=float(norm.sf(gap / error)),
                    train=f"{found.train:.0%} held-out accuracy of a plain classifier",
                    val=f"{found.val:.0%} on val, so the inputs are the same and train labels "
                    f"are worse",
                    fix=fix,
                )
