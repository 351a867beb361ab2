"""Channels and rows mixed up: images in the wrong memory layout.

## Why it matters
A convolution expects (n, c, h, w). Reshaping a (h, w, c) image to that order does not move the
axes: each "row" then cycles through the colors, and neighbours are no longer neighbours.

## What to do
Use permute(0, 3, 1, 2), never reshape or view, to turn (n, h, w, c) into (n, c, h, w).

## When it is wrong
Inputs that are no images (tables, noise) have no neighbours; the rule asks that undoing the reshape
brings out neighbours in rows and in columns alike.

Evidence: measured: correlations over 256 images, whose standard error is ten times smaller than the
limit.

Source: correlation of neighbours along rows and columns, as delivered and with the reshape undone.
"""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from goodfit.check.finding import Finding
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def neighbours(x: Tensor) -> float:
    """Correlation of adjacent values, down or across, whichever is less; images centered."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    found = []
    for dim in (2, 3):
        a, b = x.narrow(dim, 0, x.shape[dim] - 1), x.narrow(dim, 1, x.shape[dim] - 1)
        size = (a.square().mean() * b.square().mean()).sqrt().clamp_min(1e-12)
        found.append(float((a * b).mean() / size))
    return min(found)


class InputLayout(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    margin: Fraction = 0.3  # by which neighbours must gain when the reshape is undone

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        x = seen[Samples].train.x
        if x.ndim != 4 or min(x.shape[1:]) < 1 or not bool(x.isfinite().all()):
            return
        x = x[:256]
        c, h, w = x.shape[1:]
        fix = (
            "turn (n, h, w, c) into (n, c, h, w) with permute(0, 3, 1, 2); reshape does not "
            "move axes"
        )
        if w in (1, 3, 4) and h > 8 and c > 8:
            yield self.finding(
                "the inputs",
                shape=f"{tuple(x.shape)}",
                last=f"the last axis of size {w} looks like colors",
                fix=fix,
            )
            return
        if c < 2 or min(h, w) < 4:
            return
        given, undone = neighbours(x), neighbours(x.reshape(-1, h, w, c).permute(0, 3, 1, 2))
        if undone > max(given, 0.0) + self.margin:
            yield self.finding(
                "the inputs",
                neighbours=f"correlation {given:.2f} between adjacent pixels",
                undone=f"{undone:.2f} when read as (n, {h}, {w}, {c}) and permuted",
                fix=fix,
            )
