"""A class is in one split only.

## Why it matters
What is never trained is never predicted; what is never validated is never judged. Often a split
by position in sorted data.

## What to do
Shuffle before splitting, or split within each class (stratify).

## When it is wrong
When only a small part of the data was looked at; the rule asks how likely chance is.

Evidence: exact where the whole train set was seen; otherwise the chance that a class of this share
stays out, Holm over the report.

Source: hypergeometric test.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class ClassMissing(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    chance_level: Positive = 1e-6

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        if data.val is None or data.train.y is None or data.val.y is None:
            return
        sides = {"train": data.train, "val": data.val}
        for here, there in (("train", "val"), ("val", "train")):
            y, other, whole = sides[here].y, sides[there].y, sides[here].complete
            assert y is not None
            assert other is not None
            size = int(max(y.max(), other.max())) + 1
            counts, others = (torch.bincount(v[v >= 0], minlength=size) for v in (y, other))
            for c in range(size):
                share = float(others[c]) / len(other)
                p = (1 - share) ** len(y)
                if (
                    int(counts[c]) == 0
                    and int(others[c]) >= 3
                    and p < (self.chance_level if not whole else 1e-3)
                ):
                    yield self.finding(
                        f"class {c}",
                        severity="error" if here == "train" else "warning",
                        missing=f"no sample in {len(y)} of {here}",
                        chance=None if whole and here == "train" else min(1.0, 2 * size * p),
                        present=f"{int(others[c])} of {len(other)} in {there}",
                        fix="shuffle before splitting, or split within each class",
                    )
