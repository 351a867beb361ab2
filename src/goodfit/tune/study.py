"""A stage of the search in Optuna's storage: ask for settings, run the trial, tell what it gave.

Several processes may work on one stage, here or on other machines that share storage and folder.
Each asks until enough trials are done, so one may come or go at any time. A trial whose process
died is counted as failed and its settings are queued again, at most twice; it goes on from its
checkpoint. A training that breaks (a loss that is not finite) is no crash: it is a bad result.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from goodfit.data import Splits
from goodfit.errors import TrainingError
from goodfit.recipe.read import built
from goodfit.run.job import Interrupted
from goodfit.tune.space import Base, Settings, grid, said
from goodfit.tune.stage import Done, Stage, State, looks, opened, sampler_of
from goodfit.tune.trial import Outcome, digest, run_trial

_RETRIES = 2
_SILENT = 600.0  # seconds after which a trial of another machine counts as crashed
_BEAT = 20.0  # seconds between signs of life

Say = Callable[[str], None]


def queued(stage: Stage, first: list[Settings]) -> None:
    """Queue settings to begin with, in this order, and the grid's where the sampler is one.

    What the space does not contain is left out, what is queued already too.
    """
    study = opened(stage)
    if stage.sampler == "grid":
        first = grid(stage.dimensions)
    for settings in first:
        params = {d.field: d.value(settings[d.field]) for d in stage.dimensions
                  if d.field in settings}  # fmt: skip
        params = {field: value for field, value in params.items() if value is not None}
        if params:
            study.enqueue_trial(params, skip_if_exists=True)


def work(
    stage: Stage,
    splits: Splits,
    *,
    salt: int = 0,
    say: Say = lambda line: None,
    runner: Callable[..., Outcome] = run_trial,
) -> None:
    """Ask, run and tell until the stage has its trials or its time is over."""
    study, base = opened(stage), stage.base()
    while (trial := _claimed(study, stage, salt)) is not None:
        settings = {d.field: d.text(_suggested(trial, d)) for d in stage.dimensions}
        _noted(trial, settings=settings, worker=[socket.gethostname(), os.getpid()])
        if not _mine(study, trial, stage):
            _told(study, trial, "FAIL", dropped=True)
            continue
        _one(study, trial, stage, base, splits, settings, runner, say)


def _one(
    study: Any,
    trial: Any,
    stage: Stage,
    base: Base,
    splits: Splits,
    settings: Settings,
    runner: Callable[..., Outcome],
    say: Say,
) -> None:
    """One trial, from its settings to what the storage is told."""
    beat = time.monotonic()

    def alive() -> None:
        nonlocal beat
        if time.monotonic() - beat > _BEAT:
            beat = time.monotonic()
            trial.set_user_attr("alive", time.time())

    def look(number: int, accuracy: float) -> str:
        trial.report(accuracy, number)
        return "pruned" if trial.should_prune() else ""

    try:
        recipe = trial_recipe(base, settings, stage)
        place = Path(stage.runs) / digest(recipe, splits)
        _noted(trial, place=str(place))
        found = runner(
            recipe,
            splits,
            place,
            look=look,
            alive=alive,
            deadline=stage.deadline,
            device=stage.device,
        )
    except (Interrupted, KeyboardInterrupt):  # its settings come first when the study goes on
        _told(study, trial, "FAIL", dropped=True)
        _queue(study, settings, stage, trial.number)
        raise
    except TrainingError as error:
        trial.report(0.0, 1)
        _told(study, trial, "PRUNED", why=error.problem, epochs=0.0, seconds=0.0)
        say(f"trial {trial.number}: {error.problem} ({said(settings)})")
        return
    except Exception as error:
        _told(study, trial, "FAIL", why=f"{type(error).__name__}: {error}".splitlines()[0])
        say(f"trial {trial.number} failed: {error} ({said(settings)})")
        _again(study, trial.number, settings, stage)
        if _hopeless(study):
            raise
        return
    about = {"epochs": found.epochs, "seconds": found.seconds, "accuracy": found.accuracy}
    if found.stopped:
        _told(study, trial, "PRUNED", why=found.stopped, **about)
    else:
        _noted(trial, **about)
        study.tell(trial, found.accuracy, skip_if_finished=True)
    end = f", {found.stopped} after {found.epochs:.3g} epochs" if found.stopped else ""
    say(f"trial {trial.number}: {found.accuracy:.2%}{end} ({said(settings)})")


def trial_recipe(base: Base, settings: Settings, stage: Stage) -> Any:
    """What is trained: the base with these settings, over the stage's epochs."""
    table = base.changed(settings, epochs=stage.epochs)
    table["evaluate"] = {**table.get("evaluate", {}), "every": stage.epochs / looks(stage.epochs)}
    if stage.constant:
        table["schedule"] = {"kind": "constant"}
    return built(table, base.where, base.folder)


def _suggested(trial: Any, d: Any) -> Any:
    if d.kind == "choice":
        return trial.suggest_categorical(d.field, list(d.choices))
    if d.kind == "int":
        return trial.suggest_int(d.field, int(d.low), int(d.high), log=d.log)
    return trial.suggest_float(d.field, d.low, d.high, log=d.kind == "log-uniform")


def _claimed(study: Any, stage: Stage, salt: int) -> Any:
    """The next trial to run here, or None when the stage is through."""
    recovered(study, stage)
    found = trials(study)
    active = [t for t in found if t.state != "failed"]
    spent = sum(t.epochs for t in active)
    enough = len(active) >= stage.target or spent + stage.epochs > stage.most_epochs * 1.001
    if (enough and active) or time.time() > stage.deadline:
        return None
    study.sampler = sampler_of(stage, len(found), salt)
    return study.ask()


def _mine(study: Any, trial: Any, stage: Stage) -> bool:
    """Whether the stage still needs it: two processes may have asked for the last one."""
    active = [t for t in trials(study) if t.state != "failed"]
    running = [t.number for t in active if t.state == "running"]
    return len(active) <= stage.target or trial.number != max(running)


def recovered(study: Any, stage: Stage) -> int:
    """Count trials whose process is gone as failed and queue them again. How many there were."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    active_children()  # lays helpers to rest that died: until then they seem to live
    count = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _alive(trial):
            continue
        try:
            study.tell(trial.number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):  # another process was faster
            continue
        count += 1
        settings = trial.user_attrs.get("settings")
        if settings:
            _again(study, trial.number, settings, stage)
    return count


def _alive(trial: Any) -> bool:
    host, pid = trial.user_attrs.get("worker", (None, None))
    if host == socket.gethostname():
        return _process_lives(int(pid))
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return bool(time.time() - float(trial.user_attrs.get("alive", started)) < _SILENT)


def _process_lives(pid: int) -> bool:
    if os.name == "nt":
        return True  # asking would end it there; silence tells
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _again(study: Any, number: int, settings: Settings, stage: Stage) -> None:
    """Queue a failed trial's settings once more, unless that has been done often enough."""
    tries = sum(t.settings == settings for t in trials(study) if t.state == "failed")
    if tries <= _RETRIES:
        _queue(study, settings, stage, number)


def _queue(study: Any, settings: Settings, stage: Stage, number: int) -> None:
    params = {d.field: d.value(settings[d.field]) for d in stage.dimensions}
    if all(value is not None for value in params.values()):
        study.enqueue_trial(params, user_attrs={"again": number})


def _hopeless(study: Any) -> bool:
    """Whether crash follows on crash, and nothing else ever came out."""
    states = [t.state for t in trials(study)]
    return states.count("failed") > _RETRIES and "finished" not in states


def _noted(trial: Any, **about: Any) -> None:
    for name, value in about.items():
        trial.set_user_attr(name, value)


def _told(study: Any, trial: Any, state: str, **about: Any) -> None:
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    with suppress(UpdateFinishedTrialError):  # given up by another process, which was not patient
        _noted(trial, **about)
        study.tell(trial, state=TrialState[state], skip_if_finished=True)


def trials(study: Any) -> list[Done]:
    """All trials that were begun, in order; those dropped or queued are left out."""
    names: dict[str, State] = {
        "COMPLETE": "finished",
        "PRUNED": "pruned",
        "FAIL": "failed",
        "RUNNING": "running",
    }
    rows = []
    for t in study.get_trials(deepcopy=False):
        about = t.user_attrs
        if t.state.name not in names or about.get("dropped"):
            continue
        accuracy = t.value if t.state.name == "COMPLETE" else about.get("accuracy")
        rows.append(
            Done(
                t.number,
                about.get("settings", {}),
                names[t.state.name],
                accuracy,
                float(about.get("epochs", 0)),
                float(about.get("seconds", 0)),
                about.get("place", ""),
            )
        )
    return rows


def best_of(rows: list[Done]) -> Done | None:
    """The best finished trial; where none came to its end, the best of those stopped."""
    for state in ("finished", "pruned"):
        found = [t for t in rows if t.state == state and t.accuracy is not None]
        if found:
            return max(found, key=lambda t: t.accuracy or 0.0)
    return None
