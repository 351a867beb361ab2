"""Inputs that carry little: all the same, constant channels, spread far below their offset.

## Why it matters
A net cannot tell images apart that are equal. It usually means broken decoding, a mask applied
twice, or an integer division.

## What to do
Look at ten images exactly as the model receives them, and fix the step that flattens them.

## When it is wrong
Gray images stored as three equal channels are fine and not reported. A channel may be constant by
design, such as an unused depth channel.

Evidence: measured: variance and bitwise equality of the delivered samples; a size, not a test.

Source: exact comparison and variance ratios.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.samples import Samples, Side, fingerprints, yes_or_no
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def contradicted(marks: Tensor, side: Side) -> float:
    """Share of samples that come again, exactly equal, with another label."""
    if side.y is None:
        return 0.0
    group = marks.unique(return_inverse=True)[1]  # type: ignore[no-untyped-call]
    count = int(group.max()) + 1
    low = torch.full((count,), 2**31).scatter_reduce(0, group, side.y, "amin")
    high = torch.full((count,), -1).scatter_reduce(0, group, side.y, "amax")
    return float((low != high)[group].float().mean())


class InputDegenerate(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    same: Fraction = 0.5  # share of a batch's samples that may equal another one of it
    blank: Fraction = 0.1  # share of images that may be one flat color
    spread: Fraction = 0.004  # between samples, over the size of the values
    torn: Fraction = 0.05  # share of samples that may equal one of another class

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        for name, side in (("train", data.train), ("val", data.val)):
            if side is not None and len(side) >= 8 and bool(side.x.isfinite().all()):
                yield from self.of(name, side)

    def of(self, name: str, side: Side) -> Iterator[Finding]:
        x = side.x
        fix = (
            "look at the inputs as the model gets them and mend the decoding or transform "
            "that flattens them"
        )
        between, size = float(x.var(0).mean().sqrt()), float(x.square().mean().sqrt())
        if between <= 1e-12 or between < self.spread * size:
            yield self.finding(
                f"{name} inputs",
                between=f"standard deviation {between:.2g} between samples",
                size=f"values of about {size:.3g}",
                fix=fix,
            )
            return
        marks = fingerprints(x)
        torn = contradicted(marks, side)
        first = marks[side.batch == 0]
        same = 1 - len(first.unique()) / len(first)  # type: ignore[no-untyped-call]
        # Repeated with their own labels, they are duplicates, and good inputs.
        if same > self.same and len(first) >= 8 and (torn > self.torn or side.y is None):
            yield self.finding(
                f"{name} batch 0",
                equal=f"{same:.0%} of its samples repeat another one of it",
                fix="check the indexing of the data set: each sample of a batch must be "
                "another one",
            )
        if torn > self.torn and not yes_or_no(x):
            yield self.finding(
                f"{name} inputs",
                equal=f"{torn:.0%} of the samples equal one of another class, value by value",
                fix=fix,
            )
            return
        if x.ndim != 4:
            return
        flat = x.flatten(1)
        blank = (flat.std(1) < 1e-6 * flat.abs().amax(1).clamp_min(1e-12)) & (
            x.shape[2] * x.shape[3] > 1
        )
        if float(blank.float().mean()) > self.blank:
            yield self.finding(
                f"{name} inputs",
                severity="warning",
                blank=f"{float(blank.float().mean()):.0%} of the images are one flat color",
                fix=fix,
            )
        stds = x.transpose(0, 1).flatten(1).std(1)
        constant = [c for c in range(x.shape[1]) if float(stds[c]) < 1e-6 * float(stds.max())]
        if constant and x.shape[1] > 1:
            yield self.finding(
                f"{name} input channel {constant[0]}",
                severity="warning",
                constant=f"{len(constant)} of {x.shape[1]} channels never change",
                fix=fix,
            )
