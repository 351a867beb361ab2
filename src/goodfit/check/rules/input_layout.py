"""Channels and rows mixed up: images in the wrong memory layout.

## Why it matters
A convolution expects (n, c, h, w). Reshaping a (h, w, c) image to that order does not move the
axes: each "row" then cycles through the colors, and neighbours are no longer neighbours.

## What to do
Use permute(0, 3, 1, 2), never reshape or view, to turn (n, h, w, c) into (n, c, h, w).

## When it is wrong
Inputs that are no images (spectra, tables) have no neighbours; the rule asks for a clear period.

Evidence: measured: correlations over 256 images, whose standard error is ten times smaller than the
limit.

Source: lagged correlation along rows, columns and colors.
"""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor

from goodfit.check.finding import Finding
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def lagged(x: Tensor, lag: int, dim: int) -> float:
    """Correlation of values `lag` apart along a dimension, images centered."""
    x = x - x.mean((1, 2, 3), keepdim=True)
    size = x.shape[dim] - lag
    if size < 2:
        return 0.0
    a, b = x.narrow(dim, 0, size), x.narrow(dim, lag, size)
    return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt().clamp_min(1e-12))


class InputLayout(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    margin: Fraction = 0.08  # by which the period must beat the neighbours

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
        if c not in (3, 4) or min(h, w) < 8:
            return
        one, two, period = (lagged(x, lag, 3) for lag in (1, 2, c))
        if period > max(one, two) + self.margin and period > 0.3:
            yield self.finding(
                "the inputs",
                neighbours=f"correlation {max(one, two):.2f} between adjacent columns",
                period=f"{period:.2f} between columns {c} apart",
                fix=fix,
            )
