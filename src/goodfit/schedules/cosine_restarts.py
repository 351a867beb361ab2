"""Fall along half a cosine several times, and start again high after each.

    factor(t) = floor + (1 - floor) * (1 + cos(pi v)) / 2

v goes from 0 to 1 within each cycle; every cycle is `stretch` times as long as the one before.
The end of each cycle is a good moment for a snapshot: `ends()` gives them as fractions of the
run, for snapshot ensembles. A single long cosine gives the better single net.

Source: Loshchilov & Hutter 2017, arXiv:1608.03983; Huang et al. 2017, arXiv:1704.00109
(snapshots). Lecture: Learning rate schedules.

>>> schedule = CosineRestarts(cycles=2)
>>> schedule(0.25), schedule(0.5), schedule.ends()
(0.5, 1.0, (0.5, 1.0))
"""

from bisect import bisect_right
from math import cos, pi
from typing import Annotated

from pydantic import Field

from goodfit.ingredient import Count, Fraction
from goodfit.schedules import SLACK, Schedule


class CosineRestarts(Schedule):
    cycles: Count = 5
    stretch: Annotated[float, Field(ge=1, le=10, allow_inf_nan=False)] = 1.0
    floor: Fraction = 0.0  # of the base learning rate

    def ends(self) -> tuple[float, ...]:
        """Where each cycle ends, as a fraction of the whole run."""
        lengths = [self.stretch**i for i in range(self.cycles)]
        inner = (sum(lengths[: i + 1]) / sum(lengths) for i in range(self.cycles - 1))
        return (*(self.warmup + (1 - self.warmup) * u for u in inner), 1.0)

    def shape(self, done: float) -> float:
        if done < self.warmup:
            return 1.0
        ends = self.ends()
        cycle = min(
            bisect_right(ends, done + SLACK), self.cycles - 1
        )  # the run's end ends its last cycle
        start = ends[cycle - 1] if cycle else self.warmup
        v = max(0.0, done - start) / (ends[cycle] - start)
        return self.floor + (1 - self.floor) * (1 + cos(pi * v)) / 2
