"""The doctor on the built pieces of a recipe: before training the cheap rules, on request all."""

from collections.abc import Iterator
from typing import Any

from goodfit.augment.pipeline import Pipeline
from goodfit.batch import Batch
from goodfit.check import Report, check, rule_names
from goodfit.check.check import chosen
from goodfit.data.loader import Loader
from goodfit.losses.interpolate import interpolated
from goodfit.run.build import Pieces, steps_of
from goodfit.run.job import Job, changes_of

_CHEAP = {"Samples", "DryRun", "Wiring"}  # records that take a batch or two and no training


def cheap_rules() -> tuple[str, ...]:
    """The rules that need no training steps of their own."""
    rules = chosen(rule_names())
    return tuple(rule.name for rule in rules if {kind.__name__ for kind in rule.needs} <= _CHEAP)


def check_pieces(
    job: Job,
    pieces: Pieces,
    *,
    select: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    seed: int = 0,
) -> Report:
    """The doctor's report on a net with its own loss, optimizer and augmented data."""
    mixes = any(change.name in ("mixup", "cutmix") for change in job.recipe.augment)
    return check(
        pieces.model,
        Augmented(job),
        _mixed(job),
        loss=_soft(pieces) if mixes else pieces.loss,
        optimizer=pieces.optimizer,
        schedule=job.recipe.schedule,
        steps=steps_of(job.recipe, job.loader),
        seed=seed,
        select=select,
        ignore=ignore,
    )


def _mixed(job: Job) -> Loader | None:
    """The validation images in random order: the doctor looks at the first some thousand."""
    val = job.testing.get("val")
    if val is None:
        return None
    return Loader(
        val.source,
        val.batch_size,
        size=val.size,
        channels=val.channels,
        shuffle=True,
        drop_last=False,
        seed=job.recipe.train.seed,
        device=val.device,
        workers=job.recipe.train.workers,
        resize=job.recipe.evaluate.resize,
    )


class Augmented:
    """Training batches as the loop sees them, from the first epoch on."""

    def __init__(self, job: Job) -> None:
        self.loader = job.loader
        self.change = Pipeline(changes_of(job), job.recipe.train.seed)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.loader.at(0, 0):
            yield self.change(batch)


def _soft(pieces: Pieces) -> Any:
    """The recipe's loss on mixed targets."""

    def loss(logits: Any, targets: Any) -> Any:
        index = targets.new_zeros(len(targets)).long()
        return interpolated(pieces.loss, logits, Batch(logits, targets, index))

    return loss
