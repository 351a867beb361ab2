"""Rise linearly, then fall as a power of what is left of the run.

    factor(t) = t / warmup                              while t < warmup
    factor(t) = floor + (1 - floor) * (1 - u) ** power  after;  u = (t - warmup) / (1 - warmup)

t is the fraction of the run that is done. Power 1 is the straight line, 2 is what LARS was
published with, 0.9 is common in segmentation. Do not stop such a run early.

Source: You et al. 2017, arXiv:1708.03888. Lecture: Learning rate schedules.

>>> Polynomial(warmup=0, power=2)(0.5)
0.25
"""

from goodfit.ingredient import Fraction, Positive
from goodfit.schedules import Schedule, Share


class Polynomial(Schedule):
    warmup: Share = 0.05  # of the whole run
    power: Positive = 2.0
    floor: Fraction = 0.0  # of the base learning rate

    def shape(self, done: float) -> float:
        left = max(0.0, 1 - self.after_warmup(done))
        return float(self.floor + (1 - self.floor) * left**self.power)
