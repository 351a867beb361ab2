"""Batch norm on too few values.

## Why it matters
Mean and variance of a handful of values are noise, and the running statistics that testing uses
are not what training saw.

## What to do
Use batches of 32 or more, or GroupNorm, which does not look at the batch.

## When it is wrong
Large feature maps make up for small batches; the rule counts independent values, by how much the
means of single images differ.

Evidence: measured: independent values behind each mean on a batch of the program's own; a size, not
a test.

Source: Wu and He 2018, arXiv:1803.08494; variance of the batch mean.
"""

from collections.abc import Iterator
from statistics import median
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class BnSmallBatch(Rule):
    needs: ClassVar[tuple[type, ...]] = (DryRun,)
    also: ClassVar[tuple[type, ...]] = (Flow, Samples)
    least: Positive = 3.5  # independent values per statistic
    error_below: Positive = 3.0

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        dry, flow, data = seen[DryRun], seen.get(Flow), seen.get(Samples)
        fix = (
            "use batches of 32 or more (drop_last=True drops a rest of 1), or GroupNorm "
            "instead of batch norm"
        )
        if "more than 1 value per channel" in dry.error:
            yield self.finding(dry.where, severity="error", error=dry.error, fix=fix)
            return
        if flow is None:
            return
        size = flow.start.images
        if data is not None:
            sizes = [int(n) for n in data.train.batch.unique(return_counts=True)[1]]  # type: ignore[no-untyped-call]
            size = int(median(sizes))
        rows = []
        for node in flow.start.nodes:
            if node.op == "batch_norm" and node.options.get("training"):
                per_image = float(node.options.get("noise", 1e9)) / max(1, flow.start.images)
                rows.append((per_image * size, node.module))
        if not rows:
            return
        fewest, where = min(rows)
        if fewest < self.least and size < 16:
            yield self.finding(
                where,
                severity="error" if fewest < self.error_below else "warning",
                batch=size,
                values=f"about {fewest:.1f} independent values per mean",
                fix=fix,
            )
