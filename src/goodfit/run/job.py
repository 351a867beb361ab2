"""What a run is made of, and what it says on its way."""

from typing import Any, NamedTuple

from goodfit.check import Finding
from goodfit.data import Splits
from goodfit.data.loader import Loader
from goodfit.errors import RunError
from goodfit.metrics import Score
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import left_to_change
from goodfit.run.directory import RunDirectory
from goodfit.run.world import World


class Job(NamedTuple):
    """A resolved recipe with its data and its place."""

    recipe: Recipe
    splits: Splits
    loader: Loader
    testing: dict[str, Loader]  # by split: val, and test where there is one
    directory: RunDirectory
    world: World


class Progress(NamedTuple):
    """What the display shows after some steps."""

    step: int
    steps: int
    epoch: float
    loss: float
    lr: float
    images_per_second: float
    evaluation: Score | None = None
    findings: tuple[Finding, ...] = ()  # new ones of the doctor


class Interrupted(RunError):
    """A signal asked the run to stop; everything is saved."""


def changes_of(job: Job) -> tuple[Any, ...]:
    """The augmentations that are left for the batch."""
    return left_to_change(job.recipe, job.loader)
