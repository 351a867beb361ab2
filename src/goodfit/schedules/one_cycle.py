"""Rise along half a cosine, fall along another, and let the momentum do the opposite.

    lr:        1 / start_divisor → 1 at t = rise → 1 / (start_divisor * end_divisor) at t = 1
    momentum:  high → low at t = rise → high at t = 1

t is the fraction of the run that is done; the base learning rate is the peak. The momentum is
offered by `momentum(done)` to a loop that sets it; with `cycle_momentum = false`, and for an
optimizer without momentum, it is left alone. Made for short runs with high rates; search the
peak again when the batch size changes.

Source: Smith & Topin 2018, arXiv:1708.07120; the numbers are fastai's and torch's.
Lecture: Learning rate schedules.

>>> OneCycle()(0.3), OneCycle().momentum(0.3)
(1.0, 0.85)
"""

from math import cos, pi
from typing import Annotated

from pydantic import Field, model_validator

from goodfit.schedules import Schedule

Inner = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Divisor = Annotated[float, Field(ge=1, allow_inf_nan=False)]


class OneCycle(Schedule):
    rise: Inner = 0.3  # of the whole run, until the peak
    start_divisor: Divisor = 25.0
    end_divisor: Divisor = 1e4  # below the start
    cycle_momentum: bool = True
    high: Inner = 0.95
    low: Inner = 0.85

    @model_validator(mode="after")
    def _one_rise_only(self) -> "OneCycle":
        if self.warmup:
            raise ValueError("one-cycle has its own rise: leave warmup at 0 and set rise")
        if self.low > self.high:
            raise ValueError(f"the momentum falls first, so low = {self.low} must be below high")
        return self

    def shape(self, done: float) -> float:
        start = 1 / self.start_divisor
        return self._along(done, start, 1.0, start / self.end_divisor)

    def momentum(self, done: float) -> float | None:
        return self._along(done, self.high, self.low, self.high) if self.cycle_momentum else None

    def _along(self, done: float, start: float, middle: float, end: float) -> float:
        if done < self.rise:
            return _between(start, middle, done / self.rise)
        return _between(middle, end, (done - self.rise) / (1 - self.rise))


def _between(a: float, b: float, u: float) -> float:
    """From a to b along half a cosine."""
    return b + (a - b) * (1 + cos(pi * u)) / 2
