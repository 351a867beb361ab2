"""Schedules: pure functions of progress, (done 0..1) → factor on the base learning rate."""

from typing import Annotated, ClassVar

from pydantic import Field

from goodfit.ingredient import Ingredient

SLACK = 1e-9  # 3 * 0.1 in floating point is not quite 0.3, and yet the third of ten steps
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Schedule(Ingredient):
    """Base of all schedules. No optimizer, no state, nothing to resume.

    A schedule gives `shape(done)`, its factor without the warmup; this class multiplies it by
    the linear rise done / warmup. One with a shape of its own for everything overrides
    `__call__` instead.
    """

    noun: ClassVar[str] = "schedule"
    warmup: Share = 0.0  # of the whole run, rising linearly from 0

    def shape(self, done: float) -> float:
        """The factor at `done` as if there were no warmup."""
        raise NotImplementedError

    def momentum(self, done: float) -> float | None:
        """The momentum to set at `done`, or None to leave the optimizer's alone."""
        return None

    def after_warmup(self, done: float) -> float:
        """The fraction of what follows the warmup that is done, 0 while it lasts."""
        return max(0.0, (done - self.warmup) / (1 - self.warmup))

    def __call__(self, done: float) -> float:
        """The factor at the fraction `done` (0 to 1) of the run."""
        done = min(max(done, 0.0), 1.0)
        rise = done / self.warmup if done < self.warmup else 1.0
        return rise * self.shape(done)
