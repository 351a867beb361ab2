"""Many train samples are copies of others.

## Why it matters
Copies waste steps, overweight what they show, and leak across splits.

## What to do
Deduplicate by a hash of the image; if copies were meant to balance classes, use class weights or
a weighted sampler instead, after splitting.

## When it is wrong
Sampling with replacement repeats samples by design and is not reported.

Evidence: exact: samples are compared bit by bit.

Source: exact hashes.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.samples import Samples, fingerprints, yes_or_no
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


class DuplicateSamples(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    most: Fraction = 0.15  # share of samples that may repeat an earlier one
    drawn: Fraction = 0.9  # the same where samples are drawn with replacement, of a handful
    handful: Count = 64

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        train = seen[Samples].train
        if len(train) < 32 or not bool(train.x.isfinite().all()):
            return
        few = train.x[0].numel() < 8 and bool((train.x == train.x.round()).all())
        unique, counts = fingerprints(train.x).unique(return_counts=True)  # type: ignore[no-untyped-call]
        repeated = 1 - len(unique) / len(train)
        most = self.most
        if train.draws:  # some come again by design; not a handful all the time
            most = self.drawn if len(unique) < self.handful else 1.0
        if repeated > most and not few and not yes_or_no(train.x):
            yield self.finding(
                "train samples",
                repeated=f"{repeated:.0%} of {len(train)} samples repeat an earlier one",
                commonest=f"one comes {int(counts.max())} times",
                fix="deduplicate the train set by a hash of each image, after splitting",
            )
