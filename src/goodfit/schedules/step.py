"""Multiply the learning rate by a factor at equal distances.

    factor(t) = gamma ** floor(t / every)

t is the fraction of the run that is done: every = 1/3 in 90 epochs drops at epochs 30 and 60.
A warmup multiplies the first steps by t / warmup and does not move the drops. Two more settings
to choose than the cosine, for no better result: use it to repeat older papers.

Source: He et al. 2015, arXiv:1512.03385. Lecture: Learning rate schedules.

>>> Step(every=0.25)(0.2), Step(every=0.25)(0.25)
(1.0, 0.1)
"""

from math import floor
from typing import Annotated

from pydantic import Field

from goodfit.schedules import SLACK, Schedule


class Step(Schedule):
    every: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1 / 3  # of the whole run
    gamma: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.1

    def shape(self, done: float) -> float:
        return float(self.gamma ** floor(done / self.every + SLACK))
