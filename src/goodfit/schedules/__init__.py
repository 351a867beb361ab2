"""Schedules: pure functions of progress, (done 0..1) → factor on the base learning rate."""

from typing import ClassVar

from goodfit.ingredient import Ingredient


class Schedule(Ingredient):
    """Base of all schedules. No optimizer, no state, nothing to resume."""

    noun: ClassVar[str] = "schedule"

    def __call__(self, done: float) -> float:
        """The factor at the fraction `done` (0 to 1) of the run."""
        raise NotImplementedError
