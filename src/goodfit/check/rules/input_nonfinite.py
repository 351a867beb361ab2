"""NaN or infinity among the inputs.

## Why it matters
One NaN in one image makes the loss, all gradients and then all weights NaN.

## What to do
Drop the sample or repair its file. When it comes from normalization, guard the standard
deviation: divide by std.clamp_min(1e-6).

## When it is wrong
When the model masks missing values itself; silence the rule then.

Evidence: exact: every value is looked at.

Source: exact count.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class InputNonfinite(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Samples,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        for name, side in (("train", data.train), ("val", data.val)):
            if side is None:
                continue
            bad = ~side.x.isfinite().flatten(1).all(1)
            if bool(bad.any()):
                first = int(bad.int().argmax())
                batch = int(side.batch[first])
                place = first - int((side.batch < batch).sum())
                yield self.finding(
                    f"{name} batch {batch}, sample {place}",
                    nonfinite=f"{int(bad.sum())} of {len(side)} samples",
                    fix="drop these samples, or divide by std.clamp_min(1e-6) where they are "
                    "normalized",
                )
