"""Keep the learning rate as it is, after the warmup if there is one.

    factor(t) = t / warmup   while t < warmup
    factor(t) = 1            after

The schedule for the coarse steps of a search, for averages of weights (SWA, EMA) and for
schedule-free optimizers. Not for a final run without averaging: the noise of a high rate stays.

Source: Goyal et al. 2017, arXiv:1706.02677 (warmup). Lecture: Learning rate schedules.

>>> Constant()(0.7), Constant(warmup=0.1)(0.05)
(1.0, 0.5)
"""

from goodfit.schedules import Schedule


class Constant(Schedule):
    def shape(self, done: float) -> float:
        return 1.0
