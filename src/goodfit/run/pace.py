"""How long a training step takes, by taking a few."""

import time
from typing import Any

from goodfit.fit import fit
from goodfit.run.build import Pieces
from goodfit.run.compiled import stepping
from goodfit.run.job import Job, changes_of
from goodfit.run.machine import synchronize


def step_seconds(job: Job, pieces: Pieces, budget: float = 3.0) -> float:
    """Seconds of a training step, by taking a few; the pieces are used up."""
    settings: dict[str, Any] = {"optimizer": pieces.optimizer, "loss": pieces.loss}
    began, done = time.monotonic(), 0
    net = stepping(pieces.model, job.recipe.train)
    for step in fit(net, job.loader, augment=changes_of(job), steps=10_000, **settings):
        if step.number == 2:  # the first ones build plans and fill caches
            synchronize(job.world.device)
            began = time.monotonic()
        done = step.number - 2
        if done > 0 and time.monotonic() - began > budget:
            break
    synchronize(job.world.device)
    job.loader.at(0, 0)
    return (time.monotonic() - began) / max(done, 1)
