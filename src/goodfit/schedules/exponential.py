"""Rise linearly, then fall by the same ratio at every step.

    factor(t) = t / warmup   while t < warmup
    factor(t) = end ** u     after;  u = (t - warmup) / (1 - warmup)

t is the fraction of the run that is done, and `end` the factor at its end, so that no setting
counts steps. It spends little of the run at high rates: mostly for searches and comparisons
(an lr range test is this schedule with end > 1, which is not allowed here).

Source: Li & Arora 2019, arXiv:1910.07454. Lecture: Learning rate schedules.

>>> Exponential(end=0.01)(0.5)
0.1
"""

from typing import Annotated

from pydantic import Field

from goodfit.schedules import Schedule


class Exponential(Schedule):
    end: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.001

    def shape(self, done: float) -> float:
        return float(self.end ** self.after_warmup(done))
