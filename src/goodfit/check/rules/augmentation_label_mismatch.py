"""Augmented images whose targets were not changed along.

## Why it matters
A blend of a cat and a dog that is called a dog teaches noise. So does a crop that shows none of
the object.

## What to do
Mix the targets with the same weights as the images (mixup, CutMix), and keep crops large enough.

## When it is wrong
Strong but faithful augmentation also makes train harder than val; the rule asks that many train
images be blends, measured by their contrast, with hard targets.

Evidence: statistical: the chance of such a gap between two accuracies; Holm over the report.

Source: Zhang et al. 2018, "mixup", arXiv:1710.09412.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from scipy.stats import norm

from goodfit.check.finding import Finding
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class AugmentationLabelMismatch(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples, Learnable)
    gap: Fraction = 0.12

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data, found = seen[Samples], seen[Learnable]
        if data.val is None or data.val.y is None or data.train.y is None or data.train.raw is None:
            return
        hard = not data.train.raw.is_floating_point() or bool(
            ((data.train.raw == 0) | (data.train.raw == 1)).all()
        )
        clean = max(v for v in (found.val, found.val_within, 0.0) if v == v)
        if (
            not hard
            or not clean - found.train >= self.gap
            or found.tested < 200
            or found.tested_val < 100
        ):
            return
        a, b = data.train.x.flatten(1), data.val.x.flatten(1)
        if a.shape[1] != b.shape[1]:
            return
        center = b.mean(0)
        spread_a, spread_b = (a - center).square().mean(1), (b - center).square().mean(1)
        low = float((spread_a < torch.quantile(spread_b, 0.1)).float().mean())
        ratio = float(spread_a.median() / spread_b.median())
        if ratio < 0.85 and low > 0.25:
            error = (0.25 / found.tested + 0.25 / found.tested_val) ** 0.5
            yield self.finding(
                "train targets",
                chance=float(norm.sf((clean - found.train) / error)),
                contrast=f"{ratio:.0%} of val's; {low:.0%} of the train images lie below "
                f"val's lowest tenth",
                accuracy=f"{found.train:.0%} on train against {clean:.0%} on val for a "
                f"plain classifier",
                fix="mix the targets with the weights of the images: loss = w * loss(z, y) + "
                "(1 - w) * loss(z, y[partner])",
            )
