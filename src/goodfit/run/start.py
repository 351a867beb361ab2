"""Starting a run: open the data, choose and resolve the recipe, make the directory, go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from goodfit.augment.random_crop import RandomCrop
from goodfit.data import Asked, Boxes, Data, Splits, guess
from goodfit.data._assemble import check_two_classes
from goodfit.data.loader import Loader
from goodfit.errors import DataError, GoodfitError, ModelError, TrainingError
from goodfit.memory import release_freed_memory
from goodfit.models._weights import is_file
from goodfit.rand import Rng
from goodfit.recipe.read import read, split_changes, to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import Pieces, build
from goodfit.run.checked import cheap_rules, check_pieces
from goodfit.run.choose import chosen
from goodfit.run.describe import described, fastest, timed_rows
from goodfit.run.directory import RunDirectory, free_place, fresh_name
from goodfit.run.evaluate import testing_loader
from goodfit.run.fitting import colored, epochs_in, fitting
from goodfit.run.job import Job, Progress
from goodfit.run.load import Run
from goodfit.run.machine import facts
from goodfit.run.own import keep_own_code
from goodfit.run.pace import step_seconds
from goodfit.run.resolve import resolved
from goodfit.run.train import progress
from goodfit.run.world import World

NOT_TIMED = (  # where speed is no matter
    "train.precision=float32",
    "train.channels_last=false",
    "train.compile=false",
)
Say = Callable[[str], None]
Show = Callable[[Progress], None]


def _quiet(_: Any) -> None:
    """Says nothing."""


def open_data(
    data: Any, *, download: bool = False, settings: dict[str, Any] | None = None
) -> tuple[Splits, Data | None]:
    """Splits, and the settings that opened them (None for Splits made in Python)."""
    if isinstance(data, Splits):
        return data, None
    if isinstance(data, str | Path | Data):
        data = guess(data, **({"download": True} if download else {}), **(settings or {}))
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
    if name and world.main:
        free_place(name, runs)  # refused before time is spent
    settings: dict[str, Any] = {}
    if data is not None:  # it says which kind of data; only then `data.` can change its fields
        settings, changes = split_changes("data", changes)
    if isinstance(recipe, str | Path):
        recipe = read(recipe, weights_changes(weights) + changes)
    if data is None and (recipe is None or recipe.data is None):
        raise DataError(
            "nothing to train on",
            fix="name a folder by class, a CSV file or a data set, or a recipe that has [data]",
        )
    splits, opened = open_data(
        data if data is not None or recipe is None else recipe.data,
        download=download,
        settings=settings,
    )
    check_two_classes(splits.train, splits.origin)
    if not world.main:  # one voice is enough
        say = _quiet
    say(described(splits))
    if recipe is None:
        recipe, why = chosen(splits, weights)
        say(f"recipe {recipe}: {why}")
        recipe = read(recipe, weights_changes(weights) + changes)
    splits, opened = colored(recipe, splits, opened, say)
    recipe = fitting(recipe.replaced(data=opened), splits, world, say)
    loader = loader_of(recipe, splits, world)
    everything = loader if world.size == 1 else loader_of(recipe, splits, world, alone=True)
    recipe, timed, compiles = resolved(recipe, splits, everything, world)
    if timed:
        say(f"steps take {fastest(timed)}")
    if compiles:
        say(compiles)
    testing = testing_loaders(splits, recipe, loader, world)
    if not testing:
        raise DataError(
            "no image is held out to test on",
            at=splits.origin,
            fix="hold some out, as --set data.val=0.1 does, or give a test split",
        )
    if recipe.train.minutes is not None:
        recipe = _timely(Job(recipe, splits, loader, testing, RunDirectory(runs), world), say)
    word = str(data if isinstance(data, str | Path) else "data")
    if dry:
        place = RunDirectory(Path(runs) / (name or fresh_name(word)))
        return Job(recipe, splits, loader, testing, place, world)
    made = _directory(name, word, runs) if world.main else None
    directory = RunDirectory(world.agree(made))
    if world.main:
        recipe = keep_own_code(recipe, directory)
        directory.write("data.json", splits.summary())
        directory.write(
            "machine.json", facts(world.device) | {**timed_rows(timed), "processes": world.size}
        )
        directory.write("recipe.toml", to_toml(recipe))  # last: it makes the folder a run
    return Job(recipe, splits, loader, testing, directory, world)


def _directory(name: str | None, data: str, runs: str | Path) -> Path:
    """A new directory, by the name that was asked for or by the data and the time."""
    made = RunDirectory.create(name, runs) if name else RunDirectory.fresh(data, runs)
    return made.path


def weights_changes(weights: str | None) -> tuple[str, ...]:
    """What `--from` changes in a recipe: a file is read, a name is timm's, as resnet50.a1_in1k."""
    if not weights:
        return ()
    if is_file(weights):
        return (f"model.weights={weights}",)
    arch, _, tag = weights.partition(".")
    return (f"model.arch={arch}", f"model.weights={tag or 'default'}")


def _timely(job: Job, say: Say) -> Recipe:
    """The recipe with as many epochs as its minutes allow: steps, so that a resume repeats them."""
    train = job.recipe.train
    assert train.minutes is not None
    pieces = build(job.recipe, job.loader, job.splits.classes, job.loader.channels, job.world)
    seconds = job.world.agree(step_seconds(job, pieces))
    epochs = epochs_in(job.recipe, train.minutes, seconds, len(job.loader))
    say(f"{train.minutes:g} minutes allow {epochs:g} epochs, at {seconds * 1e3:.0f} ms a step")
    return job.recipe.replaced(train=train.replaced(epochs=epochs))


def testing_loaders(
    splits: Splits, recipe: Recipe, loader: Loader, world: World
) -> dict[str, Loader]:
    """A loader for each split that is not trained on."""
    return {
        name: testing_loader(part, recipe, loader.channels, world)
        for name, part in splits.parts().items()
        if name != "train"
    }


def start(
    job: Job,
    *,
    show: Show = _quiet,
    say: Say = _quiet,
    resuming: bool = False,
    made: bool = True,
) -> Run:
    """Train a prepared job to the end and write its report.

    resuming: from the last checkpoint. made: the directory was made for this start, and goes
    again if the job is refused before its first step; an older run is never removed.
    """
    classes, channels = job.splits.train.classes, job.loader.channels
    if not job.world.main:
        say = _quiet
    try:
        pieces = build(job.recipe, job.loader, classes, channels, job.world)
        for line in pieces.said:
            say(line)
        if not resuming:
            _preflight(job, pieces, say)
            release_freed_memory()
    except GoodfitError:
        if made and not resuming and job.world.main:
            job.directory.discard()  # nothing half-written stays
        job.world.close()
        raise
    try:
        for step in progress(job, pieces, resume=resuming):
            if job.world.main:
                show(step)
        release_freed_memory()
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
    if run.finished and (run.path / "report.html").exists():
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
    return start(job, show=show, say=say, resuming=has_state, made=False)


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
