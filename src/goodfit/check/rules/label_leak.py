"""One input feature gives the label away in train, but not in val.

## Why it matters
The net learns the watermark, the border or the file's trace instead of the thing, and fails where
the trace is missing.

## What to do
Find where the feature comes from (a stamp, a border, a scanner) and remove it from all inputs.

## When it is wrong
When train and val come from different sources on purpose. Where some single feature of val tells
val's classes as well, the inputs were changed rather than signed: that is `train-val-shift`.

Evidence: statistical: Fisher's exact test times the number of features tried; Holm over the report.

Source: Lapuschkin et al. 2019, "Clever Hans"; single-feature stumps, Fisher's exact test.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import fisher_exact

from goodfit.check.finding import Finding
from goodfit.check.probes.learnable import Learnable
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class LabelLeak(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Learnable,)
    gap: Fraction = 0.35  # fall of the single feature's accuracy from train to val
    alike: Fraction = 0.15  # train's best single feature may be so much better than val's own

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = seen[Learnable]
        if found.stump_at < 0 or not found.tested_val:
            return
        n, m = found.tested // 2, found.tested_val
        a, b = round(found.stump * n), round(found.stump_val * m)
        p = float(fisher_exact([[a, n - a], [b, m - b]], alternative="greater")[1])
        changed = found.stump_within > found.stump - self.alike  # false where it is not known
        signed = found.stump - found.stump_val > self.gap and not changed
        if signed and found.stump > found.chance + self.gap:
            yield self.finding(
                f"input feature {found.stump_at}"
                if found.stump_at < found.values
                else "the inputs",
                train=f"{found.stump:.0%} accuracy from this feature alone",
                val=f"{found.stump_val:.0%}",
                chance=min(1.0, p * found.features),
                fix="find what writes the label into this place of the train inputs, and "
                "remove it from all inputs",
            )
