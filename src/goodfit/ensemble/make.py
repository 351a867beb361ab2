"""Making an ensemble: check the members, put them together, evaluate once, write a directory."""

import copy
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor

from goodfit.data import Splits
from goodfit.data.adapted import matched
from goodfit.ensemble.diversity import diversity, gain
from goodfit.ensemble.members import Member, check_agreement, members_of
from goodfit.ensemble.record import EnsembleReport, MemberScore
from goodfit.ensemble.soup import averaged, check_same_net, greedy
from goodfit.errors import RunError
from goodfit.metrics import Metrics, Score, evaluate, score
from goodfit.optim.averages import recompute_batch_norm
from goodfit.predict import Classifier
from goodfit.recipe.read import to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.run import committee
from goodfit.run.checkpoint import load_state, save_weights
from goodfit.run.directory import RunDirectory
from goodfit.run.evaluate import Rows, tested, tested_rows
from goodfit.run.job import Job
from goodfit.run.load import Run
from goodfit.run.machine import facts, synchronize
from goodfit.run.own import keep_own_code
from goodfit.run.report import write_report
from goodfit.run.start import loader_of, open_data, testing_loaders
from goodfit.run.world import World

How = Literal["probabilities", "logits", "uniform-soup", "greedy-soup"]
_NORM_BATCHES = 32  # training batches from which batch norm is recomputed


class _Made(NamedTuple):
    """The ensemble as one net, and which members it is made of."""

    model: Classifier
    kept: list[int]


def ensemble(
    runs: Sequence[str | Path],
    *,
    members: Sequence[str] = ("last",),
    how: How = "probabilities",
    data: Any = None,
    name: str | None = None,
    folder: str | Path = "runs",
    device: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Run, EnsembleReport]:
    """Put runs together; returns the ensemble, which is a run like any other, and its report.

    members: which weights of every run take part: last, best, snapshots.
    data: what to decide and test on, where the runs' own cannot be opened or differ. No member
        may have been trained on its val and test splits.
    """
    if how not in get_args(How):
        raise RunError(
            f"members cannot be put together by {how!r}",
            known=", ".join(get_args(How)),
            fix="write one of these after --how",
        )
    world = World(device)
    nets = members_of(runs, members)
    check_agreement(nets, same_images=data is None)
    if how.endswith("soup"):
        check_same_net(nets)
    first = nets[0].run
    recipe, splits, summary = _opened(first, data)
    with _directory(name, folder) as directory:
        recipe = keep_own_code(recipe, directory)
        loader = loader_of(recipe, splits, world)
        testing = testing_loaders(splits, recipe, loader, world)
        job = Job(recipe, splits, loader, testing, directory, world)
        if "val" not in job.testing:
            raise RunError(
                "there are no validation images to decide by",
                at=str(first.path),
                fix="give --data with a validation split",
            )
        directory.write("data.json", summary)
        return _written(job, nets, how, say)


@contextmanager
def _directory(name: str | None, folder: str | Path) -> Iterator[RunDirectory]:
    """A new directory that goes again if the ensemble cannot be made."""
    make = RunDirectory.create if name else RunDirectory.fresh
    directory = make(name or "ensemble", folder)
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory.path, ignore_errors=True)
        raise


def _opened(first: Run, data: Any) -> tuple[Recipe, Splits, dict[str, Any]]:
    """The first run's recipe, the images to decide and test on, and what data.json says of them.

    Other data take the place of the run's own, so that `goodfit evaluate` tests on them, too.
    """
    if data is None:
        return first.recipe, first.splits(), first.data
    found, settings = open_data(data)
    said = f"the members were not trained on these images, but on {first.data['origin']}"
    splits = replace(
        found,
        train=matched(found.train, first.classes),
        val=matched(found.val, first.classes),
        test=None if found.test is None else matched(found.test, first.classes),
        notes=(*found.notes, said),
    )
    summary = splits.summary() | {"fingerprint": found.fingerprint()}
    return first.recipe.replaced(data=settings), splits, summary


def _written(
    job: Job, nets: Sequence[Member], how: How, say: Callable[[str], None]
) -> tuple[Run, EnsembleReport]:
    device, directory = str(job.world.device), job.directory
    models = [net.classifier(device) for net in nets]
    seen = {"val": [_rows(job, model, "val") for model in models]}
    scores = [score(rows.probabilities, rows.labels) for rows in seen["val"]]
    for net, found in zip(nets, scores, strict=True):
        say(f"{net.name}: validation {found.accuracy:.2%} (loss {found.nll:.3f})")
    made = _soup(job, models, scores, how, say) if how.endswith("soup") else _committee(models, how)

    save_weights(directory.checkpoints / "last.safetensors", made.model)
    directory.write("machine.json", facts(job.world.device))
    if not how.endswith("soup"):
        _keep_members(directory, nets, how)
    seconds, steps = _spent(nets)
    tested(job, made.model, seconds=seconds or 0.0, steps=steps)
    split = "test" if "test" in job.testing else "val"
    if split != "val":
        seen[split] = [_rows(job, model, split) for model in models]
    report = _report(job, nets, models, made, how, seen[split], scores)
    _finish(job, report)
    return Run(directory.path), report


def _rows(job: Job, model: Classifier, split: str) -> Rows:
    """What a net says of a split, its classes put in the order of the ensemble's."""
    rows = tested_rows(model, job.testing[split], job.recipe, job.world)
    columns = [model.classes.index(name) for name in job.splits.classes]
    return rows._replace(probabilities=rows.probabilities[:, columns])


def _committee(models: list[Classifier], how: How) -> _Made:
    model = committee.assembled(models, cast(committee.How, how))
    return _Made(model.to(next(models[0].parameters()).device).eval(), list(range(len(models))))


def _soup(
    job: Job,
    models: Sequence[Classifier],
    scores: Sequence[Score],
    how: How,
    say: Callable[[str], None],
) -> _Made:
    """A net with the mean of all weights, or of those that validation keeps."""
    pot = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]

    def cooked(places: Sequence[int]) -> Score:
        pot.load_state_dict(averaged([states[place] for place in places]))
        some = (
            batch.images
            for _, batch in zip(range(_NORM_BATCHES), job.loader.at(0, 0), strict=False)
        )
        recompute_batch_norm(pot, some)
        found = _rows(job, pot, "val")
        mark = score(found.probabilities, found.labels)
        say(f"soup of {len(places)}: validation {mark.accuracy:.2%} (loss {mark.nll:.3f})")
        return mark

    kept = greedy(scores, cooked) if how == "greedy-soup" else list(range(len(models)))
    if len(kept) == 1:
        pot.load_state_dict(states[kept[0]])
    else:
        cooked(kept)
    return _Made(pot, kept)


def _keep_members(directory: RunDirectory, nets: Sequence[Member], how: How) -> None:
    """Every member's recipe and own code, and what `Run.classifier` reads."""
    for place, net in enumerate(nets):
        inside = RunDirectory(directory.path / "members" / str(place))
        inside.path.mkdir(parents=True)
        inside.write("recipe.toml", to_toml(keep_own_code(net.run.recipe, inside)))
    rows = [{"name": net.name, "classes": list(net.run.classes)} for net in nets]
    directory.write(committee.FILE, {"how": how, "members": rows})


def _spent(nets: Sequence[Member]) -> tuple[float | None, int]:
    """Seconds and updates of all runs that took part, each counted once."""
    runs = {net.run.path.resolve(): net.run for net in nets}.values()
    if not all(run.finished for run in runs):
        return None, 0
    results = [run.result for run in runs]
    return sum(float(r["train_seconds"]) for r in results), sum(int(r["steps"]) for r in results)


def _report(
    job: Job,
    nets: Sequence[Member],
    models: Sequence[Classifier],
    made: _Made,
    how: How,
    seen: Sequence[Rows],
    scores: Sequence[Score],
) -> EnsembleReport:
    result = job.directory.read("result.json")
    own = load_state(job.directory.path / f"{result['split']}.pt")["probabilities"]
    images = next(iter(job.testing["val"])).images
    rows = [
        _member(job, net, rows, found, kept=place in made.kept, seconds=_seconds(model, images))
        for place, (net, model, rows, found) in enumerate(
            zip(nets, models, seen, scores, strict=True)
        )
    ]
    best = max(range(len(nets)), key=lambda i: (scores[i].accuracy, -scores[i].nll))
    lead = gain(own, seen[best].probabilities, seen[best].labels)
    seconds, _ = _spent(nets)
    return EnsembleReport(
        how=how,
        split=result["split"],
        members=tuple(rows),
        validation_accuracy=result["validation"]["accuracy"]["value"],
        metrics=Metrics.model_validate(result["metrics"]),
        best=nets[best].name,
        gain=lead,
        diversity=diversity([rows.probabilities for rows in seen], seen[0].labels),
        seconds_per_image=_seconds(made.model, images),
        weight_bytes=sum(t.nbytes for t in made.model.state_dict().values()),
        train_seconds=seconds,
        notes=tuple(_notes(nets, how, lead.high)),
    )


def _member(
    job: Job, net: Member, rows: Rows, validation: Score, *, kept: bool, seconds: float
) -> MemberScore:
    found = evaluate(rows.probabilities, rows.labels, job.splits.classes)
    return MemberScore(
        name=net.name,
        run=str(net.run.path),
        weights=net.weights,
        kept=kept,
        validation_accuracy=validation.accuracy,
        accuracy=found.accuracy,
        nll=found.calibration.nll.value,
        ece=found.calibration.ece.value,
        seconds_per_image=seconds,
        train_seconds=net.run.result["train_seconds"] if net.run.finished else None,
    )


def _notes(nets: Sequence[Member], how: How, most: float) -> list[str]:
    """What a reader should know before believing the figures."""
    notes = []
    first = nets[0].run.recipe
    if any(net.run.recipe.evaluate != first.evaluate for net in nets):
        notes.append(f"note: all members are tested with the views of {nets[0].name}")
    if how == "uniform-soup" and most < 0:
        notes.append(
            "note: the soup is worse than its best member, as it is for nets that did not start "
            "from the same weights: use --how probabilities"
        )
    return notes


def _seconds(model: Classifier, images: Tensor, repeats: int = 3) -> float:
    """Of a forward pass on a batch: the best of a few."""
    took = []
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first one builds plans
            start = time.perf_counter()
            model(images)
            synchronize(images.device)
            took.append(time.perf_counter() - start)
    return min(took) / len(images)


def _finish(job: Job, report: EnsembleReport) -> None:
    """The report, and at last the recipe: without it the directory is no run."""
    directory = job.directory
    names = ", ".join(row.name for row in report.members if row.kept)
    result = directory.read("result.json")
    directory.write("result.json", result | {"weights": f"{report.how} of {names}"})
    directory.write("members.json", report.model_dump(mode="json"))
    directory.write("recipe.toml", to_toml(job.recipe))
    write_report(job, Run(directory.path))
