"""The whole of `goodfit tune`: from data and a recipe to a tuned one, resumable at any moment."""

import time
from collections.abc import Callable
from hashlib import blake2b
from math import sqrt
from pathlib import Path
from typing import Any

import tomlkit

from goodfit.data import Splits
from goodfit.errors import MissingExtraError, RecipeError
from goodfit.metrics import Metrics
from goodfit.recipe.read import to_toml
from goodfit.report.html import tune_html
from goodfit.report.records import TrialRow, TuneReport, TuneStep
from goodfit.run.choose import chosen
from goodfit.run.directory import RunDirectory, fresh_name
from goodfit.run.job import Interrupted
from goodfit.run.load import Run
from goodfit.run.own import keep_own_code
from goodfit.run.start import open_data, resume, train
from goodfit.tune import curves, opening, search
from goodfit.tune.budget import ROUNDS, Budget
from goodfit.tune.held import held
from goodfit.tune.space import Base, Space, base_of, read_space, said
from goodfit.tune.stage import check_names, optuna
from goodfit.tune.team import help_out, helpers, leading
from goodfit.tune.trial import hidden
from goodfit.tune.walk import Options, Walk

STEPS = ("initial-loss", "overfit", "rate", "coarse", "refine", "curves", "final")
Say = Callable[[str], None]


def tuned(
    data: Any,
    recipe: str | Path | None = None,
    *,
    budget: Budget = Budget(trials=30),  # noqa: B008, a constant
    space: str | Path | Space | None = None,
    steps: tuple[str, ...] = (),
    changes: tuple[str, ...] = (),
    sampler: str = "tpe",
    pruner: str = "asha",
    storage: str = "",
    on: str = "process",
    workers: int = 1,
    folder: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    say: Say = lambda line: None,
) -> TuneReport:
    """Walk the seven steps on `data`, then train the tuned recipe and look at the test split once.

    steps: only these, in their order; what earlier calls found is used. () is all.
    storage: a journal file, or a URL of a database; a file in the study's folder by default.
    folder: the study's; a call with the folder of an interrupted study goes on with it, and a
        second process with the folder of a running one helps it.

    Writes steps.json, tuned.toml, tune.json and tune.html there; trials are runs in trials/, and
    the final run is final/. Raises RecipeError for a wrong space, MissingExtraError without optuna.
    """
    _checked(steps, sampler, pruner, on)
    splits, _ = open_data(data)
    if recipe is None:
        recipe, why = chosen(splits)
        say(f"recipe {recipe}: {why}")
    base = base_of(recipe, changes)
    found = read_space(space, base) if isinstance(space, str | Path) else space
    name = f"tune-{_stem(data)}-{Path(recipe).stem}"
    place = Path(folder) if folder else Path("runs") / name
    options = Options(budget, sampler, pruner, storage, seed, device)
    while True:
        with leading(place) as mine:
            if mine:
                return _led(base, data, splits, place, options, found, steps, on, workers, say)
        say(f"another process leads the study in {place}: helping with its trials")
        help_out(place, held(hidden(splits)), salt=int(time.time()), say=say)


def _led(
    base: Base,
    data: Any,
    splits: Splits,
    folder: Path,
    options: Options,
    space: Space | None,
    steps: tuple[str, ...],
    on: str,
    workers: int,
    say: Say,
) -> TuneReport:
    if (folder / "final" / "result.json").exists() and (folder / "tune.json").exists():
        say(f"{folder} is finished: its test split has been looked at, so its search is over")
        return TuneReport.model_validate_json((folder / "tune.json").read_text("utf-8"))
    (folder / "stage.json").unlink(missing_ok=True)
    walk = Walk(base, held(hidden(splits)), folder, options, space=space, say=say)
    walk.book.claim(_identity(base, splits, space))
    began = time.time()
    try:
        if on == "ray" or workers > 1:
            with helpers(folder, data, workers - 1, on) as walk.check:
                _walked(walk, steps)
        else:
            _walked(walk, steps)
        final = _final(walk, data, folder, say) if not steps or "final" in steps else None
    except Interrupted:
        raise Interrupted(
            "tuning was stopped; everything is saved",
            at=str(folder),
            fix="the same command again goes on",
        ) from None
    finally:
        walk.book.spend(time.time() - began)
    report = _report(walk, folder, final)
    directory = RunDirectory(folder)
    directory.write("tune.json", report.model_dump_json(indent=2))
    directory.write("tune.html", tune_html(report))
    return report


def _walked(walk: Walk, steps: tuple[str, ...]) -> None:
    """The steps that are asked for; those done before are not repeated, unless asked by name."""

    def due(name: str) -> bool:
        if steps:
            return name in steps
        return walk.book.value(name.replace("-", " ")) is None

    if due("initial-loss"):
        opening.initial_loss(walk)
    if due("overfit"):
        opening.overfit(walk)
    if due("rate"):
        opening.rate(walk)
    if due("coarse"):
        search.coarse(walk)
    if steps:
        if "refine" in steps:
            search.refine(walk, 0)
        if "curves" in steps:
            search.look(walk, 0)
        return
    _rounds(walk)
    if walk.book.value("finalists") is None:
        search.finalists(walk)


def _rounds(walk: Walk) -> None:
    """Steps 5 to 7, until step 7 says stop."""
    shift = None
    for turn in range(ROUNDS):
        suffix = "" if turn == 0 else f", round {turn + 1}"
        known = walk.book.value(f"onward{suffix}")
        if known is not None and not known["go"]:
            return
        if known is None and not search.refine(walk, turn, shift):
            return
        signs = search.look(walk, turn)
        shift = curves.together(signs)
        accuracy = walk.best()[1] or 0.5
        error = sqrt(max(accuracy * (1 - accuracy), 1e-4) / len(walk.splits.val))
        if not (known["go"] if known else search.go_on(walk, turn, signs, error)):
            return


def _final(walk: Walk, data: Any, folder: Path, say: Say) -> Metrics | None:
    """Train the tuned recipe whole; its run is the only one that is given the test split."""
    place = folder / "final"
    if not (place / "recipe.toml").exists():
        settings, _ = walk.best()
        recipe = walk.base.recipe(settings, epochs=float(f"{walk.final_epochs():.4g}"))
        say(f"final run of {recipe.train.epochs:g} epochs: {said(settings)}")
        train(recipe, data, name="final", runs=folder, device=walk.options.device)
    elif not (place / "result.json").exists():
        resume(place, device=walk.options.device)
    result = Run(place).result
    test = Metrics(**result["metrics"]) if result["split"] == "test" else None
    validation = Metrics(**result["validation"])
    words = f"The tuned recipe has {validation.accuracy.value:.2%} on validation"
    words += (
        f" and {test.accuracy.value:.2%} (95% interval {test.accuracy.low:.2%} to "
        f"{test.accuracy.high:.2%}) on {test.images} test images, which nothing had seen before."
        if test else "; there is no test split."
    )  # fmt: skip
    step = TuneStep(number=0, name="final run", found=words)
    walk.book.add(step, {})
    say(words)
    return test


def _report(walk: Walk, folder: Path, test: Metrics | None) -> TuneReport:
    settings, accuracy = walk.best()
    recipe = walk.base.recipe(settings, epochs=float(f"{walk.final_epochs():.4g}"))
    about = f"Tuned by goodfit: {said(settings)}."
    kept = keep_own_code(recipe.replaced(about=about, expected=""), RunDirectory(folder))
    text = to_toml(kept)
    RunDirectory(folder).write("tuned.toml", text)
    rows = walk.all_trials()
    notes = [f"Validation accuracy of the best trial: {accuracy:.2%}; the best of many looks at "
             "the same images is too good."] if accuracy is not None else []  # fmt: skip
    if walk.final_epochs() < walk.full:
        notes.append(
            f"The final run had {walk.final_epochs():.3g} of the recipe's {walk.full:g} epochs, "
            "to stay within the budget."
        )
    return TuneReport(
        name=folder.name,
        steps=walk.book.steps,
        trials=tuple(
            TrialRow(
                number=number,
                settings=t.settings,
                state=t.state,
                accuracy=t.accuracy,
                epochs=t.epochs,
                seconds=t.seconds,
            )
            for number, (_, t) in enumerate(rows, 1)
        ),
        test=test,
        cost={
            "budget": walk.options.budget.words,
            "time": f"{walk.book.spent / 60:.1f} minutes",
            "epochs": f"{sum(t.epochs for _, t in rows):.3g}",
            "folder": str(folder),
        },
        recipe=text,
        notes=tuple(notes),
    )


def _identity(base: Base, splits: Splits, space: Space | None) -> dict[str, str]:
    def mark(text: str) -> str:
        return blake2b(text.encode(), digest_size=8).hexdigest()

    return {
        "recipe": mark(tomlkit.dumps(base.table)),
        "data": hidden(splits).fingerprint(),
        "space": mark(repr(space)),
    }


def _stem(data: Any) -> str:
    return fresh_name(str(data)).rsplit("-", 4)[0] if isinstance(data, str | Path) else "data"


def _checked(steps: tuple[str, ...], sampler: str, pruner: str, on: str) -> None:
    check_names(sampler, pruner)
    for step in steps:
        if step not in STEPS:
            raise RecipeError(
                f"tuning has no step {step!r}", known=", ".join(STEPS), fix="name one of these"
            )
    if on not in ("process", "ray"):
        raise RecipeError(
            f"trials cannot run on {on!r}", known="process, ray", fix="write --on process"
        )
    if on == "ray":
        try:
            import ray  # noqa: F401
        except ImportError:
            raise MissingExtraError("ray", "running trials on Ray") from None
    if not steps or {"coarse", "refine"} & set(steps):
        optuna()
