"""Starting a run: open the data, choose and resolve the recipe, make the directory, go."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goodfit.augment.random_crop import RandomCrop
from goodfit.data import Asked, Boxes, Data, Splits, guess
from goodfit.data.loader import Loader
from goodfit.errors import DataError, GoodfitError, ModelError, TrainingError
from goodfit.fit import fit
from goodfit.models import Model
from goodfit.models._weights import is_file
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.rand import Rng
from goodfit.recipe.read import read, to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import Pieces, build, resolved, steps_of
from goodfit.run.checked import cheap_rules, check_pieces
from goodfit.run.choose import chosen, typical_side
from goodfit.run.directory import RunDirectory, fresh_name
from goodfit.run.evaluate import testing_loader
from goodfit.run.load import Run
from goodfit.run.machine import facts, synchronize
from goodfit.run.own import keep_own_code
from goodfit.run.train import Job, Progress, changes_of, progress
from goodfit.run.world import World

Say = Callable[[str], None]
Show = Callable[[Progress], None]


def _quiet(_: Any) -> None:
    """Says nothing."""


def open_data(data: Any, *, download: bool = False) -> tuple[Splits, Data | None]:
    """Splits, and the settings that opened them (None for Splits made in Python)."""
    if isinstance(data, Splits):
        return data, None
    if isinstance(data, str | Path):
        data = guess(data, download=True) if download else guess(data)
    if not isinstance(data, Data):
        raise DataError(
            f"{type(data).__name__} is not data that can be opened",
            fix="give a path, a data set's name, or goodfit's Splits",
        )
    return data(), data


def prepare(
    data: Any,
    recipe: Recipe | str | Path | None = None,
    *,
    changes: tuple[str, ...] = (),
    weights: str | None = None,
    device: str | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    download: bool = False,
    say: Say = _quiet,
    dry: bool = False,
) -> Job:
    """Open the data, resolve everything and make the run directory (not with `dry`)."""
    world = World(device)
    if weights and is_file(weights) and not Path(weights).expanduser().is_file():
        raise ModelError("there is no such file of weights", at=weights, fix="correct the path")
    if isinstance(recipe, str | Path):
        recipe = read(recipe, changes + ((f"model.weights={weights}",) if weights else ()))
    splits, opened = open_data(
        data if data is not None or recipe is None else recipe.data, download=download
    )
    say(described(splits))
    if recipe is None:
        recipe, why = chosen(splits, weights)
        say(f"recipe {recipe}: {why}")
        recipe = read(recipe, changes + ((f"model.weights={weights}",) if weights else ()))
    recipe = _fitting(recipe.replaced(data=opened), splits, world, say)
    loader = loader_of(recipe, splits, world)
    everything = loader if world.size == 1 else loader_of(recipe, splits, world, alone=True)
    recipe, timed = resolved(recipe, splits, everything, world)
    if timed:
        say(f"steps take {_best(timed)}")
    testing = testing_loaders(splits, recipe, loader, world)
    place = world.agree(name or fresh_name(str(data if isinstance(data, str | Path) else "data")))
    if dry:
        return Job(recipe, splits, loader, testing, RunDirectory(Path(runs) / place), world)
    directory = RunDirectory.create(place, runs) if world.main else RunDirectory(Path(runs) / place)
    if world.main:
        recipe = keep_own_code(recipe, directory)
        directory.write("recipe.toml", to_toml(recipe))
        directory.write("data.json", splits.summary())
        directory.write(
            "machine.json", facts(world.device) | {**_timed(timed), "processes": world.size}
        )
    return Job(recipe, splits, loader, testing, directory, world)


def testing_loaders(
    splits: Splits, recipe: Recipe, loader: Loader, world: World
) -> dict[str, Loader]:
    """A loader for each split that is not trained on."""
    return {
        name: testing_loader(part, recipe, loader.channels, world)
        for name, part in splits.parts().items()
        if name != "train"
    }


def start(job: Job, *, show: Show = _quiet, say: Say = _quiet, resuming: bool = False) -> Run:
    """Train a prepared job to the end and write its report."""
    classes, channels = job.splits.train.classes, job.loader.channels
    try:
        pieces = build(job.recipe, job.loader, classes, channels, job.world)
    except GoodfitError:
        if not resuming and job.world.main:
            shutil.rmtree(job.directory.path)  # nothing half-written stays
        raise
    for line in pieces.said:
        say(line)
    try:
        if not resuming:
            _preflight(job, pieces, say)
        for step in progress(job, pieces, resume=resuming):
            if job.world.main:
                show(step)
        run = Run(job.directory.path)
        if job.world.main:
            from goodfit.run.report import write_report

            write_report(job, run)
    finally:
        job.world.close()
    return run


def _preflight(job: Job, pieces: Pieces, say: Say) -> None:
    """The doctor's cheap rules. An error stops here, before time is spent."""
    if not job.recipe.train.check:
        return
    errors: list[str] = []
    if job.world.main:
        report = check_pieces(job, pieces, select=cheap_rules())
        job.directory.write("findings.json", [f.to_dict() for f in report.findings])
        if report.findings:
            say("\n".join(str(finding) for finding in report.findings))
        errors = [f"{f.rule} at {f.where}: {f.fix}" for f in report.errors]
    errors = job.world.agree(errors)
    if errors:
        raise TrainingError(
            "the doctor found a fault that training would not survive",
            at=str(job.directory.path),
            found="; ".join(errors),
            fix="mend it, or train all the same with --set train.check=false",
        )


def train(
    recipe: Recipe | str | Path | None = None,
    data: Any = "digits",
    *,
    changes: tuple[str, ...] = (),
    weights: str | None = None,
    device: str | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    show: Show = _quiet,
    say: Say = _quiet,
) -> Run:
    """Train `recipe` (a Recipe, a shipped name, a TOML file; None: the one that fits) on `data`.

    data: a folder by class, a CSV or .npz file, a data set's name, Data or Splits.
    changes: `section.field=value`, as `--set` of the command line.
    Returns the finished Run. Leaves the caller's random state as it was.
    """
    with torch.random.fork_rng():
        job = prepare(
            data,
            recipe,
            changes=changes,
            weights=weights,
            device=device,
            name=name,
            runs=runs,
            say=say,
        )
        return start(job, show=show, say=say)


def resume(
    path: str | Path, *, device: str | None = None, show: Show = _quiet, say: Say = _quiet
) -> Run:
    """Go on with an interrupted run, from its last checkpoint, bit for bit on the same device."""
    directory = RunDirectory.open(path)
    run = Run(path)
    if run.finished:
        say(f"{path} is finished already")
        return run
    world = World(device)
    splits = run.splits()
    recipe = run.recipe
    loader = loader_of(recipe, splits, world)
    testing = testing_loaders(splits, recipe, loader, world)
    job = Job(recipe, splits, loader, testing, directory, world)
    has_state = (directory.checkpoints / "last.pt").exists()
    say(f"resuming {path}" if has_state else f"{path} has no checkpoint yet: starting from step 1")
    return start(job, show=show, say=say, resuming=has_state)


def loader_of(recipe: Recipe, splits: Splits, world: World, *, alone: bool = False) -> Loader:
    """The loader of the training split, as a resolved recipe describes it.

    alone: with all of each batch, not this process's part of it.
    """
    train = recipe.train
    assert isinstance(train.batch_size, int)
    return Loader(
        splits.train,
        train.batch_size // train.accumulate,
        size=train.image_size,
        shuffle=True,
        seed=train.seed,
        device=world.device,
        workers=train.workers,
        channels=splits.channels,
        boxes=boxes_of(recipe, splits),
        rank=0 if alone else world.rank,
        world=1 if alone else world.size,
    )


def boxes_of(recipe: Recipe, splits: Splits) -> Boxes | None:
    """What of each photograph is decoded, where the recipe begins with a random crop of it.

    Only for images of several sizes: those of one size are held whole, and cropped as batches.
    """
    crop = recipe.augment[0] if recipe.augment else None
    if splits.alike or not isinstance(crop, RandomCrop) or crop.prob < 1:
        return None

    def boxes(sizes: Tensor, asked: Asked) -> Tensor:
        window = crop.windows(sizes, Rng(recipe.train.seed, crop.name, asked))
        return torch.stack(window, dim=1)

    return boxes


def _fitting(recipe: Recipe, splits: Splits, world: World, say: Say) -> Recipe:
    """Image size and batch size that suit the data."""
    train = recipe.train
    changes: dict[str, Any] = {}
    if train.image_size is None:
        side = typical_side(splits)
        changes["image_size"] = round(side) if side <= 64 else 224
    size = 128 if train.batch_size == "auto" else train.batch_size
    assert isinstance(size, int)
    most = max(train.accumulate, len(splits.train) // 4 // train.accumulate * train.accumulate)
    if size > most:
        say(f"batch_size {size} is too large for {len(splits.train)} images: {most} is used")
        size = most
    if size % (train.accumulate * world.size):
        size = max(1, size // (train.accumulate * world.size)) * train.accumulate * world.size
    train = train.replaced(**changes, batch_size=size)
    return recipe.replaced(train=train, **_suited(recipe, train.image_size))


def _suited(recipe: Recipe, side: int | None) -> dict[str, Any]:
    """The model for images of this side, and the preprocessing that its weights were trained on."""
    if not isinstance(recipe.model, Model) or side is None:
        return {}
    suited: dict[str, Any] = {"model": recipe.model.suited(side)}
    constants = recipe.model.constants()
    own = recipe.preprocess
    if constants is not None and isinstance(own, ChannelStats) and not own.mean:
        suited["preprocess"] = ChannelStats(mean=constants.mean, std=constants.std)
    return suited


def described(splits: Splits) -> str:
    """The data in a sentence."""
    counts = ", ".join(f"{len(part):,} {name}" for name, part in splits.parts().items())
    lines = [f"data: {counts} images in {len(splits.classes)} classes; {splits.how}"]
    lines += [f"note: {note}" for note in splits.notes]
    if splits.skipped:
        first = splits.skipped[0]
        lines.append(f"skipped {len(splits.skipped)} unreadable: {first.name} ({first.reason})")
    return "\n".join(lines)


def _timed(timed: dict[str, float]) -> dict[str, str]:
    return {f"step in {name}": f"{seconds * 1e3:.0f} ms" for name, seconds in timed.items()}


def _best(timed: dict[str, float]) -> str:
    name, seconds = min(timed.items(), key=lambda item: item[1])
    others = ", ".join(f"{k} {v * 1e3:.0f} ms" for k, v in timed.items() if k != name)
    return f"{seconds * 1e3:.0f} ms in {name} ({others})"


def describe(job: Job) -> str:
    """What `--dry-run` prints: data, model, expected time, and the resolved recipe."""
    pieces = build(job.recipe, job.loader, job.splits.train.classes, job.loader.channels, job.world)
    total, a_step = steps_of(job.recipe, job.loader), step_seconds(job, pieces)
    weights = sum(p.numel() for p in pieces.model.parameters())
    minutes = total * a_step / 60
    return "\n".join(
        [
            *(f"# {line}" for line in described(job.splits).splitlines()),
            f"# model: {weights:,} parameters; lr {pieces.optimizer.param_groups[0]['lr']:g}",
            f"# time: {total} steps of {a_step * 1e3:.0f} ms, about {minutes:.1f} minutes",
            f"# would be written to: {job.directory.path}",
            to_toml(job.recipe),
        ]
    )


def step_seconds(job: Job, pieces: Pieces, budget: float = 3.0) -> float:
    """Seconds of a training step, by taking a few; the pieces are used up."""
    settings: dict[str, Any] = {"optimizer": pieces.optimizer, "loss": pieces.loss}
    began, done = time.monotonic(), 0
    for step in fit(pieces.model, job.loader, augment=changes_of(job), steps=10_000, **settings):
        if step.number == 2:  # the first ones build plans and fill caches
            synchronize(job.world.device)
            began = time.monotonic()
        done = step.number - 2
        if done > 0 and time.monotonic() - began > budget:
            break
    synchronize(job.world.device)
    job.loader.at(0, 0)
    return (time.monotonic() - began) / max(done, 1)
