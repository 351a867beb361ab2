"""The search itself: resumable, shared by processes, with crashes counted; no test split in sight.

Trials are made up, except where real ones are short.
"""

import os
import socket
import subprocess
import sys
import textwrap
import time
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from goodfit.data import guess
from goodfit.errors import DataError, MissingExtraError, RecipeError, TrainingError
from goodfit.tune.space import Base, Dimension
from goodfit.tune.stage import Stage, check_names, opened
from goodfit.tune.study import best_of, queued, recovered, trials, work
from goodfit.tune.trial import Outcome, digest, hidden, run_trial

pytest.importorskip("optuna")
LR = Dimension("optimizer.lr", "log-uniform", 0.001, 1.0)
TINY = """
[model]
kind = "cnn"
widths = [4]
per_stage = 1
[train]
batch_size = 256
precision = "float32"
channels_last = false
[evaluate]
every = 1
"""


@pytest.fixture(scope="module")
def splits():
    return hidden(guess("digits")())


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(
        name="refine", recipe=TINY, folder="", runs=str(tmp_path / "trials"),
        storage=str(tmp_path / "study.journal"), space=[LR._asdict()], epochs=2.0,
        constant=False, target=6, sampler="random", pruner="none",
    )  # fmt: skip


def easy(recipe, splits, place, *, look, **settings):
    """Better the nearer the rate is to 0.1."""
    assert splits.test is None
    accuracy = 1 / (1 + abs(recipe.optimizer.lr - 0.1))
    for number in (1, 2, 3):
        if (why := look(number, accuracy)) and number < 3:
            return Outcome(accuracy, number / 3 * 2, 0.0, place, why)
    return Outcome(accuracy, 2.0, 0.0, place)


def rates(stage: Stage) -> list[str]:
    return [t.settings["optimizer.lr"] for t in trials(opened(stage))]


def test_a_stage_has_as_many_trials_as_asked(stage, splits):
    work(stage, splits, runner=easy)
    rows = trials(opened(stage))
    assert [t.state for t in rows] == ["finished"] * 6
    assert best_of(rows).accuracy == max(t.accuracy for t in rows)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_resumed_study_asks_what_an_uninterrupted_one_does(stage, splits, tmp_path, sampler):
    whole = stage._replace(storage=str(tmp_path / "whole.journal"), sampler=sampler, target=9)
    work(whole, splits, runner=easy)
    part = whole._replace(storage=stage.storage, target=4)
    work(part, splits, runner=easy)
    work(part._replace(target=9), splits, runner=easy)
    assert rates(part) == rates(whole)


def test_a_finished_stage_runs_nothing_more(stage, splits):
    work(stage, splits, runner=easy)
    work(stage, splits, runner=lambda *_, **__: pytest.fail("a seventh trial"))


def test_what_is_queued_comes_first_and_once(stage, splits):
    for _ in "ab":
        queued(stage, [{"optimizer.lr": "0.1"}, {"optimizer.lr": "7"}])  # 7 is outside
    work(stage, splits, runner=easy)
    assert rates(stage)[0] == "0.1"
    assert rates(stage).count("0.1") == 1


def test_a_grid_is_run_whole(stage, splits):
    kind = Dimension("train.ema", "choice", choices=("0", "0.9"))
    stage = stage._replace(sampler="grid", space=[LR._asdict(), kind._asdict()])
    queued(stage, [])
    work(stage, splits, runner=easy)
    cells = {tuple(t.settings.values()) for t in trials(opened(stage))}
    assert len(cells) == 6


def test_a_crash_is_counted_and_its_settings_tried_again(stage, splits):
    crashed = []

    def once(recipe, *rest, **settings):
        if not crashed:
            crashed.append(f"{recipe.optimizer.lr:.6g}")
            raise MemoryError("no room")
        return easy(recipe, *rest, **settings)

    work(stage, splits, runner=once)
    rows = trials(opened(stage))
    assert [t.state for t in rows].count("failed") == 1
    assert [t.state for t in rows].count("finished") == stage.target
    again = [t for t in rows if t.settings["optimizer.lr"] == crashed[0]]
    assert [t.state for t in again] == ["failed", "finished"]


def test_settings_that_always_crash_end_the_search_when_nothing_else_works(stage, splits):
    def never(*_, **__):
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        work(stage, splits, runner=never)


def test_a_loss_that_breaks_is_a_bad_result_and_no_crash(stage, splits):
    def breaks(recipe, *rest, **settings):
        if recipe.optimizer.lr > 0.05:
            raise TrainingError("the loss is no longer finite", fix="lower it")
        return easy(recipe, *rest, **settings)

    work(stage._replace(target=8), splits, runner=breaks)
    states = {t.state for t in trials(opened(stage))}
    assert states == {"finished", "pruned"}


def test_the_trial_of_a_process_that_died_is_queued_again(stage, splits):
    script = f"""
        import os
        from types import SimpleNamespace
        from goodfit.tune.stage import Stage
        from goodfit.tune.study import work
        def dies(recipe, *rest, **settings):
            print(f"{{recipe.optimizer.lr:.6g}}", flush=True)
            os._exit(1)
        stage = Stage(**{ {k: v for k, v in stage._asdict().items() if v != float("inf")}!r})
        work(stage, SimpleNamespace(fingerprint=str), runner=dies)
    """
    done = python(script)
    work(stage, splits, runner=easy)
    rows = trials(opened(stage))
    lost = done.stdout.strip()
    assert [t.state for t in rows if t.settings["optimizer.lr"] == lost] == ["failed", "finished"]


def python(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], text=True, capture_output=True,
        timeout=120, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_that_find_one_crash_count_it_once(stage, monkeypatch):
    from optuna.exceptions import UpdateFinishedTrialError

    study = opened(stage)
    study.ask().set_user_attr("worker", [socket.gethostname(), 2**22 - 1])  # nobody's

    def late(*_, **__):
        raise UpdateFinishedTrialError

    monkeypatch.setattr(study, "tell", late)
    assert recovered(study, stage) == 0


def test_the_trial_of_a_helper_that_died_is_queued_again(stage):
    helper = get_context("spawn").Process(target=int)
    helper.start()
    wait([helper.sentinel])  # it has ended, and nobody has asked for its exit code
    study = opened(stage)
    study.ask().set_user_attr("worker", [socket.gethostname(), helper.pid])
    assert recovered(study, stage) == 1


def test_two_processes_share_a_study_and_run_no_trial_too_many(stage, splits):
    script = f"""
        import time
        from types import SimpleNamespace
        from goodfit.tune.stage import Stage
        from goodfit.tune.study import work
        from goodfit.tune.trial import Outcome
        def slow(recipe, splits, place, **settings):
            time.sleep(0.1)
            return Outcome(0.5, 2.0, 0.1, place)
        stage = Stage(**{ {k: v for k, v in stage._asdict().items() if v != float("inf")}!r})
        print("ready", flush=True)
        work(stage._replace(target=20), SimpleNamespace(fingerprint=str), salt=1, runner=slow)
    """
    stage = stage._replace(target=20)
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"

    def slow(recipe, splits, place, **settings):
        time.sleep(0.1)
        return Outcome(0.5, 2.0, 0.1, place)

    work(stage, splits, runner=slow)
    assert other.wait(60) == 0
    study = opened(stage)
    assert sum(t.state == "finished" for t in trials(study)) == 20
    assert len({tuple(t.user_attrs["worker"]) for t in study.trials}) == 2


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
def test_bad_trials_end_early(stage, splits, pruner):
    stage = stage._replace(pruner=pruner, target=12)
    queued(stage, [{"optimizer.lr": "0.1"}] + [{"optimizer.lr": f"{x}"} for x in (0.2, 0.3, 0.4)])
    work(stage, splits, runner=easy)
    rows = trials(opened(stage))
    assert any(t.state == "pruned" for t in rows)
    assert all(t.epochs < 2 for t in rows if t.state == "pruned")
    assert best_of(rows).settings["optimizer.lr"] in {"0.1", *rates(stage)}


def test_a_stage_whose_time_is_over_asks_nothing(stage, splits):
    work(stage._replace(deadline=time.time() - 1), splits, runner=easy)
    assert trials(opened(stage)) == []


def test_epochs_of_all_trials_are_counted(stage, splits):
    work(stage._replace(target=100, most_epochs=8.0), splits, runner=easy)
    assert sum(t.epochs for t in trials(opened(stage))) == 8.0


def test_a_database_url_holds_a_study_too(stage, splits, tmp_path):
    stage = stage._replace(storage=f"sqlite:///{tmp_path}/study.db", target=2)
    work(stage, splits, runner=easy)
    assert len(trials(opened(stage))) == 2


@pytest.mark.parametrize("storage", ["nonsense://x", "/proc/nowhere/x.journal"])
def test_a_storage_that_cannot_be_opened_says_so(stage, storage):
    with pytest.raises(RecipeError, match="storage of the study"):
        opened(stage._replace(storage=storage))


def test_unknown_names_are_refused():
    with pytest.raises(RecipeError, match="no pruner 'axe'"):
        check_names("tpe", "axe")


def test_without_optuna_the_extra_is_named(stage, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"goodfit\[tune\]"):
        opened(stage)


def test_trials_refuse_data_with_a_test_split(tmp_path):
    recipe = Base({}, "the recipe", None).recipe()
    with pytest.raises(DataError, match="must not see the test split"):
        run_trial(recipe, guess("digits")(), tmp_path / "x", look=lambda *_: "")


def test_a_real_trial_is_a_run_without_test_results_and_is_never_run_twice(splits, tmp_path):
    from goodfit.recipe.read import built, parsed

    recipe = built(parsed(TINY + "\n[optimizer]\nkind='sgd'\nlr=0.1", "x"))
    recipe = recipe.replaced(train=recipe.train.replaced(epochs=2))
    place, seen = tmp_path / digest(recipe, splits), []
    first = run_trial(recipe, splits, place, look=lambda n, a: seen.append(n) or "")
    assert seen == [1, 2]
    assert not (place / "test.pt").exists()
    assert "test" not in (place / "data.json").read_text().split('"fingerprints"')[1][:200]
    stamp = (place / "result.json").stat().st_mtime_ns
    again = run_trial(recipe, splits, place, look=lambda *_: pytest.fail("trained again"))
    assert (place / "result.json").stat().st_mtime_ns == stamp
    assert again == first


def test_a_trial_can_be_stopped_at_a_look_and_by_the_clock(splits, tmp_path):
    from goodfit.recipe.read import built, parsed

    recipe = built(parsed(TINY, "x"))
    recipe = recipe.replaced(train=recipe.train.replaced(epochs=3))
    found = run_trial(recipe, splits, tmp_path / "a", look=lambda n, _: "pruned" if n == 1 else "")
    assert (found.stopped, found.epochs) == ("pruned", 1.0)
    late = run_trial(recipe, splits, tmp_path / "b", look=lambda *_: "", deadline=time.time() - 1)
    assert late.stopped == "out of time"
    assert late.epochs < 1


def test_a_stage_goes_through_a_file(stage, tmp_path: Path):
    stage.write(tmp_path / "stage.json")
    again = Stage.read(tmp_path / "stage.json")
    assert again._replace(space=[]) == stage._replace(space=[])
    assert again.dimensions == stage.dimensions
