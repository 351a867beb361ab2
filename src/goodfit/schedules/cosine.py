"""Rise linearly, then fall along half a cosine.

    factor(t) = t / warmup                                 while t < warmup
    factor(t) = floor + (1 - floor) * (1 + cos(pi u)) / 2  after;  u = (t - warmup) / (1 - warmup)

t is the fraction of the run that is done. No setting counts steps, so a recipe keeps its
meaning when the epochs, the batch size or the data change. Do not stop such a run early: the
low rates at its end are where most of the accuracy comes from; train a shorter one instead.

Source: Loshchilov & Hutter 2017, arXiv:1608.03983. Lecture: Learning rate schedules.

>>> half_way_up, end = Cosine(warmup=0.1)(0.05), Cosine(warmup=0.1)(1.0)
>>> half_way_up, end
(0.5, 0.0)
"""

from math import cos, pi

from goodfit.ingredient import Fraction
from goodfit.schedules import Schedule, Share


class Cosine(Schedule):
    warmup: Share = 0.05  # of the whole run
    floor: Fraction = 0.0  # of the base learning rate

    def shape(self, done: float) -> float:
        u = self.after_warmup(done)
        return self.floor + (1 - self.floor) * (1 + cos(pi * u)) / 2
