"""Batches that hold few classes each, because the order was not shuffled.

## Why it matters
Each step pulls the net to the classes of its batch and lets it forget the others; batch norm's
statistics swing with them.

## What to do
DataLoader(..., shuffle=True) for train, and a new order in every epoch.

## When it is wrong
Class-balanced batches are fine and not reported. Streams that come sorted by nature need a buffer
to shuffle in.

Evidence: statistical: chi-square of labels by batch; Holm over the report.

Source: pairs of equal labels within batches against random order.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from scipy.stats import chi2

from goodfit.check.finding import Finding
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


class UnshuffledBatches(Rule):
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    excess: Fraction = 0.12  # of the share of pairs with one label

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        train = seen[Samples].train
        if train.y is None or len(train.y.unique()) < 2:  # type: ignore[no-untyped-call]
            return
        y, batch = train.y.clamp_min(0), train.batch
        batches, k = int(batch.max()) + 1, int(train.y.max()) + 1
        if batches < 2 or len(y) < 40 or len(y) / batches < 3:
            return
        table = torch.zeros(batches, k).index_put_((batch, y), torch.ones(len(y)), accumulate=True)
        sizes = table.sum(1)
        table, sizes = table[sizes > 1], sizes[sizes > 1]
        equal = float((table * (table - 1)).sum() / (sizes * (sizes - 1)).sum())
        whole = table.sum(0)
        n = float(whole.sum())
        usual = float((whole * (whole - 1)).sum() / (n * (n - 1)))
        chi = float(
            (
                (table - sizes[:, None] * whole / n) ** 2
                / (sizes[:, None] * whole / n).clamp_min(1e-9)
            ).sum()
        )
        freedom = (len(sizes) - 1) * (int((whole > 0).sum()) - 1)
        z = (chi - freedom) / (2 * freedom) ** 0.5
        if equal - usual > self.excess * (1 - usual) and z > 8:
            yield self.finding(
                "train batches",
                chance=float(chi2.sf(chi, freedom)),
                same_label=f"{equal:.0%} of the pairs within a batch",
                expected=f"{usual:.0%} in random order",
                fix="shuffle the train set every epoch: DataLoader(..., shuffle=True)",
            )
