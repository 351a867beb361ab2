"""A trial: an ordinary run on data without a test split, which may be stopped at any look.

The run lies in the study's folder, named by a digest of what was trained: the same settings again
are read, not trained, and a trial that was interrupted goes on from its checkpoint.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch

from goodfit.data import Splits
from goodfit.errors import DataError
from goodfit.predict import predict
from goodfit.recipe.read import to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.run.directory import RunDirectory
from goodfit.run.job import Job, Progress
from goodfit.run.load import Run
from goodfit.run.start import loader_of, prepare, start, testing_loaders
from goodfit.run.world import World
from goodfit.tune.curves import Curves

_KNOWN = 2048  # training images, at most, on which the gap to validation is measured
Look = Callable[[int, float], str]  # (number of the look, accuracy) → why to stop, or ""


class Outcome(NamedTuple):
    """What a trial gave. `stopped` says why it did not come to its end."""

    accuracy: float  # on validation, at the end
    epochs: float
    seconds: float
    place: Path
    stopped: str = ""


class _Stop(Exception):
    """Ends a training from where its progress is shown."""


def hidden(splits: Splits) -> Splits:
    """The data as trials get it: without its test split."""
    if not len(splits.val):
        raise DataError(
            "tuning needs a validation split, to choose by",
            at=splits.origin,
            fix="give the data a val folder, or a share: --set data.val=0.2",
        )
    return replace(splits, test=None)


def digest(recipe: Recipe, splits: Splits) -> str:
    """A name for what is trained."""
    text = f"{to_toml(recipe)}\n{splits.fingerprint()}"
    return blake2b(text.encode(), digest_size=6).hexdigest()


def prepared(recipe: Recipe, splits: Splits, place: Path, device: str | None) -> tuple[Job, bool]:
    """A trial's job, and whether it goes on from a checkpoint. Refuses data with a test split."""
    if splits.test is not None:
        raise DataError(
            "a trial must not see the test split",
            at=splits.origin,
            fix="pass the data through goodfit.tune.trial.hidden",
        )
    if not (place / "recipe.toml").is_file():
        shutil.rmtree(place, ignore_errors=True)  # begun, but killed before it was a run
        recipe = recipe.replaced(data=None)
        return prepare(splits, recipe, device=device, name=place.name, runs=place.parent), False
    world, old = World(device), Run(place).recipe
    loader = loader_of(old, splits, world)
    testing = testing_loaders(splits, old, loader, world)
    directory = RunDirectory.open(place)
    again = (directory.checkpoints / "last.pt").exists()
    if not again:
        directory.rewind(0)
    return Job(old, splits, loader, testing, directory, world), again


def run_trial(
    recipe: Recipe,
    splits: Splits,
    place: Path,
    *,
    look: Look,
    alive: Callable[[], None] = lambda: None,
    deadline: float = float("inf"),
    device: str | None = None,
) -> Outcome:
    """Train a trial, or read it if it is done.

    look: is told every validation accuracy. alive: is called every second or so.
    deadline: in seconds since 1970; then it stops.
    """
    if (place / "result.json").exists():
        return _read(place, "")
    with torch.random.fork_rng():
        job, again = prepared(recipe, splits, place, device)

        def show(progress: Progress) -> None:
            alive()
            why = "out of time" if time.time() > deadline else ""
            if progress.evaluation is not None:
                number = len(job.directory.lines("evaluations.jsonl"))
                why = look(number, progress.evaluation.accuracy) or why
            last = progress.step == progress.steps
            if why and not last:
                raise _Stop(why)

        try:
            start(job, show=show, resuming=again)
        except _Stop as stop:
            return _read(place, str(stop))
        train_accuracy(job, place, device)
    (place / "checkpoints" / "last.pt").unlink(missing_ok=True)  # the largest file, of no more use
    return _read(place, "")


def train_accuracy(job: Job, place: Path, device: str | None) -> float:
    """How well the trained net knows training images as they are; kept in the trial's folder."""
    model, loader = Run(place).classifier(device=device), job.loader.at(0, 0)
    some, count = [], 0
    for batch in loader:
        some.append(batch)
        count += len(batch.images)
        if count >= _KNOWN:
            break
    labels = torch.cat([batch.targets.argmax(1) for batch in some]).cpu()
    found = predict(model, some).argmax(1)
    accuracy = float((found == labels).double().mean())
    RunDirectory.open(place).write("train_accuracy.json", {"accuracy": accuracy, "images": count})
    return accuracy


def _read(place: Path, stopped: str) -> Outcome:
    directory = RunDirectory.open(place)
    looks = directory.lines("evaluations.jsonl")
    if not stopped:
        result = directory.read("result.json")
        accuracy = float(result["validation"]["accuracy"]["value"])
    else:
        accuracy = float(looks[-1]["val_accuracy"]) if looks else 0.0
    steps = directory.lines("steps.jsonl")
    last = max([*looks[-1:], *steps[-1:]], key=lambda row: row["step"], default={})
    return Outcome(
        accuracy, float(last.get("epoch", 0)), float(last.get("seconds", 0)), place, stopped
    )


def curves_of(place: Path, classes: int, images: int) -> Curves:
    """The curves of a trial, for the rules."""
    directory = RunDirectory.open(place)
    looks = directory.lines("evaluations.jsonl")
    known = (place / "train_accuracy.json").exists()
    return Curves(
        losses=tuple(float(row["loss"]) for row in directory.lines("steps.jsonl")),
        accuracies=tuple(row["val_accuracy"] for row in looks),
        val_losses=tuple(row["val_loss"] for row in looks if isfinite(row["val_loss"])),
        classes=classes,
        images=images,
        train_accuracy=directory.read("train_accuracy.json")["accuracy"] if known else None,
    )
