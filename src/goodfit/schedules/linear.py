"""Rise linearly, then fall along a straight line.

    factor(t) = t / warmup                    while t < warmup
    factor(t) = 1 - (1 - floor) * u           after;  u = (t - warmup) / (1 - warmup)

t is the fraction of the run that is done. With warmup 0.2 this is the triangle of short runs.
Do not stop such a run early: train a shorter one instead.

Source: Goyal et al. 2017, arXiv:1706.02677 (warmup); Defazio et al. 2023, arXiv:2310.07831
(why straight lines do well). Lecture: Learning rate schedules.

>>> Linear(warmup=0)(0.25), Linear(warmup=0, floor=0.1)(1.0)
(0.75, 0.1)
"""

from goodfit.ingredient import Fraction
from goodfit.schedules import Schedule, Share


class Linear(Schedule):
    warmup: Share = 0.05  # of the whole run
    floor: Fraction = 0.0  # of the base learning rate

    def shape(self, done: float) -> float:
        u = self.after_warmup(done)
        return (1 - u) + self.floor * u
