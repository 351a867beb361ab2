"""Transferring: read recipe and weights, choose how, train, write the run."""

import copy
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch

from goodfit.augment.flip import Flip
from goodfit.data import guess
from goodfit.errors import DataError, GoodfitError, ModelError
from goodfit.models._weights import is_file, read_weights
from goodfit.optim import Optim
from goodfit.predict import Classifier
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.recipe.own import Own
from goodfit.recipe.read import read, split_changes, to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import build, network
from goodfit.run.checkpoint import save_weights
from goodfit.run.directory import RunDirectory, fresh_name
from goodfit.run.evaluate import tested, testing_loader
from goodfit.run.job import Job, Progress
from goodfit.run.load import Run
from goodfit.run.machine import facts, synchronize
from goodfit.run.own import keep_own_code
from goodfit.run.report import write_report
from goodfit.run.start import prepare, start, weights_changes
from goodfit.run.train import begun
from goodfit.run.world import pick_device
from goodfit.transfer.features import Features, features, head_module, shares_of
from goodfit.transfer.freezing import GradualUnfreezing
from goodfit.transfer.probe import Probe, advised, probed

Mode = Literal["auto", "probe", "fine-tune", "two-phase", "gradual"]
Say = Callable[[str], None]
Show = Callable[[Progress], None]
_CPU_BATCH = 16  # images at once through a frozen net: more leave the CPU's cache, and are slower
_LAYER_DECAY = 0.75  # where the recipe has none
_UNFREEZING = 0.5  # of the run, over which layers are set free


class _AloneError(GoodfitError):
    """Something that several processes cannot do together."""


class _Seen(NamedTuple):
    """A probe that is trained and not written yet."""

    job: Job
    model: Classifier
    probe: Probe
    train: Features
    seconds: dict[str, float]


def transfer(
    data: Any = None,
    weights: str | None = None,
    *,
    mode: Mode = "auto",
    recipe: Recipe | str | Path | None = None,
    changes: tuple[str, ...] = (),
    cache: str | Path | None = None,
    device: str | None = None,
    name: str | None = None,
    runs: str | Path = "runs",
    download: bool = False,
    show: Show = lambda _: None,
    say: Say = lambda _: None,
) -> Run:
    """Train a classifier for `data`, beginning with `weights`; returns the finished run.

    data: as for `train`; None where the recipe names it.
    weights: a file, read as data, or the name of a net of timm ("resnet50", "resnet50.a1_in1k");
        None where the recipe's model names them.
    recipe: of fine-tuning; `photos-finetune` by default. `changes` as with `--set`.
    cache: a folder that keeps features for other probes of the same images and weights.
    """
    if mode not in get_args(Mode):
        raise ModelError(
            f"{mode!r} is not a way to transfer", known=", ".join(get_args(Mode)), fix="choose one"
        )
    with torch.random.fork_rng():
        place = name or fresh_name(str(data if isinstance(data, str | Path) else "data"))
        if data is not None:
            fields, changes = split_changes("data", changes)
            data = data if not fields else guess(data, **fields)
        asked = _recipe(recipe, weights, changes)
        settings: dict[str, Any] = {"device": device, "name": place, "runs": runs}
        settings |= {"download": download}
        seen, why = None, "asked for"
        if mode in ("auto", "probe", "two-phase"):
            try:
                seen = _probe(data, asked, settings, None if cache is None else Path(cache), say)
            except (ModelError, DataError, _AloneError) as error:
                if mode != "auto":
                    raise
                mode, why = "fine-tune", f"a probe cannot be made: {error.problem}"
        if mode == "auto":
            assert seen is not None
            mode, why = _advice(seen)
        if why != "asked for":
            say(f"mode {mode}: {why}")
        if mode == "probe":
            assert seen is not None
            return _written(seen, why)
        if mode != "fine-tune":
            asked = _slower_below(asked, say)
        if mode == "two-phase":
            assert seen is not None
            return _second_phase(data, asked, why, settings, seen, show, say)
        job = prepare(data, asked, **settings, say=say)
        if mode == "gradual":
            job = job._replace(recipe=_gradual(job))
        if job.world.main:
            job.directory.write("recipe.toml", to_toml(job.recipe))
            job.directory.write("transfer.json", _record(mode, why, seen))
        return start(job, show=show, say=say)


def _recipe(
    recipe: Recipe | str | Path | None, weights: str | None, changes: tuple[str, ...]
) -> Recipe:
    """The recipe of fine-tuning, with the weights in its model; ModelError without any."""
    if weights and is_file(weights):
        read_weights(weights)  # a wrong file is refused before anything is opened
    named = weights_changes(weights)
    if isinstance(recipe, Recipe):
        model: Any = recipe.model
        fields = dict(change.partition("=")[::2] for change in named)
        own = {field.removeprefix("model."): value for field, value in fields.items()}
        found = recipe.replaced(model=model.replaced(**own)) if own else recipe
    else:
        found = read(recipe or "photos-finetune", (*named, *changes))
        if recipe is None:  # the constants of these weights, not of the recipe's
            found = found.replaced(preprocess=ChannelStats())
    if not isinstance(found.model, Own) and not getattr(found.model, "weights", ""):
        raise ModelError(
            "there are no weights to begin with",
            at="model",
            seen=f"{found.model.name} starts from random weights",
            fix="give --from a file or a name, or a recipe whose model has weights",
        )
    return found


def _probe(
    data: Any, asked: Recipe, settings: dict[str, Any], cache: Path | None, say: Say
) -> _Seen:
    """Run the frozen net on training and validation images, and train its classifier."""
    job = prepare(data, _frozen(asked, settings["device"]), **settings, say=say, dry=True)
    if job.world.size > 1:
        raise _AloneError(
            "a probe is trained by one process",
            processes=job.world.size,
            fix="start goodfit without torchrun, or use --mode fine-tune",
        )
    if "val" not in job.testing:
        raise DataError(
            "there are no validation images to choose the strength of the probe by",
            fix="give a validation split, or let goodfit divide: --set data.val=0.1",
        )
    began = time.monotonic()
    net, _ = network(job.recipe, len(job.splits.classes), job.loader.channels)
    model = Classifier(job.recipe.preprocess(), net, job.splits.classes).eval()
    model = model.to(job.world.device).to(memory_format=torch.channels_last)
    head_module(model)
    shares = shares_of(job.recipe.augment)
    train = features(model, _in_order(job), shares, cache)
    val = features(model, job.testing["val"], shares, cache)
    synchronize(job.world.device)
    ran = time.monotonic()
    probe = probed(train, val, len(job.splits.classes))
    seconds = {"features": ran - began, "classifier": time.monotonic() - ran}
    say(
        f"probe: {train.views[0].shape[1]} features of {len(train.labels):,} images in "
        f"{len(shares)} view(s) took {seconds['features']:.1f} s, the classifier "
        f"{seconds['classifier']:.1f} s; l2 {probe.l2:.2g}, validation {probe.accuracy:.2%}"
    )
    head = head_module(model)
    with torch.no_grad():
        head.weight.copy_(probe.head.weight)
        if head.bias is None:
            raise ModelError("this classifier has no bias", fix="use --mode fine-tune")
        head.bias.copy_(probe.head.bias)
    return _Seen(job, model, probe, train, seconds)


def _frozen(asked: Recipe, device: str | None) -> Recipe:
    """What of a recipe a probe uses: views that are run once, and plain weights."""
    train = asked.train.replaced(
        precision="float32", channels_last=True, compile=False, ema=0.0, swa=0.0, sizes=()
    )
    flips = tuple(change for change in asked.augment if isinstance(change, Flip))
    at_once = asked.evaluate.batch_size
    if pick_device(device).type == "cpu":
        at_once = min(at_once, _CPU_BATCH)
    evaluate = asked.evaluate.replaced(batch_size=at_once)
    return asked.replaced(train=train, augment=flips, penalties=(), evaluate=evaluate)


def _in_order(job: Job) -> Any:
    """All training images once, cut as in testing; decoded images are shared where they may be."""
    if job.recipe.evaluate.resize != 1 or job.recipe.evaluate.image_size:
        return testing_loader(job.splits.train, job.recipe, job.loader.channels, job.world)
    loader = copy.copy(job.loader)
    loader.shuffle = loader.drop_last = False
    loader.batch_size = job.recipe.evaluate.batch_size
    return loader.at(0, 0)


def _advice(seen: _Seen) -> tuple[Mode, str]:
    counts = seen.train.labels.bincount(minlength=len(seen.job.splits.classes))
    return advised(seen.train, counts.tolist(), seen.probe.l2)


def _placed(job: Job) -> Job:
    """The job with its directory, which is no run before it has a recipe."""
    directory = RunDirectory.create(job.directory.path.name, job.directory.path.parent)
    recipe = keep_own_code(job.recipe, directory)
    directory.write("data.json", job.splits.summary())
    directory.write("machine.json", facts(job.world.device) | {"processes": 1})
    return job._replace(directory=directory, recipe=recipe)


def _written(seen: _Seen, why: str) -> Run:
    """The probe as a run."""
    job = _placed(seen.job)
    directory = job.directory
    about = {"classes": list(seen.model.classes), "step": 0}
    for weights in ("last", "best"):
        save_weights(directory.checkpoints / f"{weights}.safetensors", seen.model, about)
    directory.write("transfer.json", _record("probe", why, seen))
    tested(job, seen.model, seconds=sum(seen.seconds.values()), steps=0)
    result = directory.read("result.json")
    directory.write("result.json", result | {"weights": "linear probe"})
    directory.write("recipe.toml", to_toml(job.recipe))  # last: without it this is no run
    run = Run(directory.path)
    write_report(job, run)
    return run


def _second_phase(
    data: Any,
    asked: Recipe,
    why: str,
    settings: dict[str, Any],
    seen: _Seen,
    show: Show,
    say: Say,
) -> Run:
    """Train the whole net from the probe on, which is the run's first checkpoint."""
    job = _placed(prepare(data, asked, **settings, say=say, dry=True))
    pieces = build(job.recipe, job.loader, job.splits.classes, job.loader.channels, job.world)
    head_module(pieces.model).load_state_dict(head_module(seen.model).state_dict())
    begun(job, pieces)
    job.directory.write("transfer.json", _record("two-phase", why, seen))
    job.directory.write("recipe.toml", to_toml(job.recipe))  # last: from here on it can be resumed
    return start(job, show=show, say=say, resuming=True)


def _record(mode: str, why: str, seen: _Seen | None) -> dict[str, Any]:
    """transfer.json: how, why, and what the probe found."""
    record: dict[str, Any] = {"mode": mode, "why": why}
    if seen is not None:
        record["seconds"] = {name: round(took, 3) for name, took in seen.seconds.items()}
        record["probe"] = {"l2": seen.probe.l2, "validation_accuracy": seen.probe.accuracy}
        record["grid"] = [row._asdict() for row in seen.probe.tried]
    return record


def _slower_below(asked: Recipe, say: Say) -> Recipe:
    """The recipe with rates that fall with depth, where it has none of its own."""
    optimizer = asked.optimizer
    if not isinstance(optimizer, Optim) or optimizer.layer_decay < 1:
        return asked
    say(f"layer_decay {_LAYER_DECAY}: lower layers learn more slowly")
    return asked.replaced(optimizer=optimizer.replaced(layer_decay=_LAYER_DECAY))


def _gradual(job: Job) -> Recipe:
    """The recipe with a line that sets layers free during the first half of the run."""
    count = max(1, ceil(_UNFREEZING * job.recipe.train.epochs * len(job.loader)))
    return job.recipe.replaced(layers=(*job.recipe.layers, GradualUnfreezing(batches=count)))
