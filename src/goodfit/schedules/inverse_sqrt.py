"""Rise linearly, then fall with the square root of time.

    factor(t) = t / warmup          while t < warmup
    factor(t) = sqrt(warmup / t)    after

t is the fraction of the run that is done. It never reaches zero and needs no end in sight, so a
run can go on; one with a known end does better with the cosine or a straight line.

Source: Vaswani et al. 2017, arXiv:1706.03762. Lecture: Learning rate schedules.

>>> InverseSqrt(warmup=0.04)(0.16)
0.5
"""

from math import sqrt
from typing import Annotated

from pydantic import Field

from goodfit.schedules import Schedule


class InverseSqrt(Schedule):
    warmup: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.05  # of the whole run

    def shape(self, done: float) -> float:
        return sqrt(self.warmup / max(done, self.warmup))
