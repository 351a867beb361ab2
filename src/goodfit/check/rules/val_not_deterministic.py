"""Val delivers other images in a second pass.

## Why it matters
Random augmentation in val makes its accuracy jump and lower than it is; models are then compared
by luck.

## What to do
Use a deterministic transform for val (resize, center crop, normalize).

## When it is wrong
When val averages random views on purpose.

Evidence: exact: two passes are compared bit by bit.

Source: exact comparison of two passes.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class ValNotDeterministic(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        if data.again is None or data.val is None:
            return
        first, second = data.again
        if len(first) == len(second) and bool((first == second).all()):
            return
        whole = data.val.complete and len(first) == len(second)
        same = whole and bool((first.sort().values == second.sort().values).all())
        if same or not whole or data.val.draws:
            return
        changed = 1 - float(sum(v in set(first.tolist()) for v in second.tolist())) / len(second)
        if changed > 0.02:
            yield self.finding(
                "val batches",
                changed=f"{changed:.0%} of {len(second)} samples differ in a second pass",
                fix="give val a transform without randomness: resize, center crop, normalize",
            )
