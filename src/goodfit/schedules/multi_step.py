"""Multiply the learning rate by a factor at chosen points of the run.

    factor(t) = gamma ** (number of milestones <= t)

t is the fraction of the run that is done: milestones 1/3, 2/3, 8/9 in 90 epochs are epochs 30,
60 and 80. A warmup multiplies the first steps by t / warmup and does not move the milestones.
The milestones must be searched for again when the run's length changes much; the cosine has none.

Source: He et al. 2015, arXiv:1512.03385; Goyal et al. 2017, arXiv:1706.02677.
Lecture: Learning rate schedules.

>>> MultiStep(milestones=(0.5, 0.75))(0.6)
0.1
"""

from typing import Annotated

from pydantic import Field, field_validator

from goodfit.schedules import SLACK, Schedule

Milestone = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class MultiStep(Schedule):
    milestones: tuple[Milestone, ...] = (1 / 3, 2 / 3, 8 / 9)  # of the whole run
    gamma: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.1

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("milestones must rise, each larger than the one before")
        return value

    def shape(self, done: float) -> float:
        return float(self.gamma ** sum(done + SLACK >= milestone for milestone in self.milestones))
