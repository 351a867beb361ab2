"""goodfit tune on digits: the seven steps, the files they leave, one look at the test split."""

import json
import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from goodfit.data import guess
from goodfit.errors import MissingExtraError, RecipeError, RunError
from goodfit.report.records import TuneReport
from goodfit.run.start import prepare
from goodfit.tune.budget import Budget, budget_of
from goodfit.tune.tune import tuned

pytest.importorskip("optuna")


@pytest.fixture
def quick(tiny: Path) -> Path:
    """The tiny recipe at a rate that is far too low."""
    text = tiny.read_text().replace("lr = 0.05", "lr = 1e-4").replace("epochs = 3", "epochs = 2")
    text = text.replace("dropout = 0.2", "per_stage = 1").replace(
        "batch_size = 64", "batch_size = 128"
    )
    tiny.write_text(text)
    return tiny


def test_the_command_line_walks_all_steps_and_writes_a_recipe(goodfit, quick, tmp_path):
    done = goodfit("tune", "digits", "-r", quick, "--trials", 5, "--folder", "study", "--json")
    assert done.returncode == 0, done.stderr
    report = TuneReport.model_validate_json(done.stdout)
    names = [step.name for step in report.steps]
    assert names[:7] == [
        "initial loss", "overfit", "rate", "coarse", "refine", "curves", "onward"
    ]  # fmt: skip
    assert names[-1] == "final run"
    assert all(step.found for step in report.steps)
    assert len(report.trials) == 5
    study = tmp_path / "study"
    recipe = tomllib.loads((study / "tuned.toml").read_text())
    assert recipe["optimizer"]["lr"] > 1e-3
    assert "<html" in (study / "tune.html").read_text()
    assert report.test is not None
    assert report.test.images == 359
    with_test = [p.parent.name for p in study.rglob("test.pt")]
    assert with_test == ["final"]
    runs = list((study / "trials").glob("*/recipe.toml"))
    assert len(runs) == 5
    assert not any("[data]" in run.read_text() for run in runs)

    said: list[str] = []
    again = tuned("digits", quick, budget=Budget(trials=9), folder=study, say=said.append)
    assert "its search is over" in said[0]
    assert again == report


def test_a_study_goes_on_where_it_stopped(quick, tmp_path):
    settings = {"budget": Budget(trials=4), "folder": tmp_path / "study"}
    first = tuned("digits", quick, steps=("rate", "coarse"), **settings)
    assert [step.name for step in first.steps] == ["rate", "coarse"]
    assert first.test is None
    assert not list((tmp_path / "study").rglob("test.pt"))
    said: list[str] = []
    whole = tuned("digits", quick, say=said.append, **settings)
    assert "coarse" not in {line.split(":")[0] for line in said}
    assert len(whole.trials) == 4
    assert {step.name for step in first.steps} < {step.name for step in whole.steps}
    (tmp_path / "study" / "final" / "result.json").unlink()
    with pytest.raises(RunError, match="another recipe"):
        tuned("digits", quick, changes=("train.epochs=1",), **settings)


def test_the_search_is_given_no_test_split(quick, tmp_path, monkeypatch):
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(f"the test split was asked for its {name}")

        __len__ = __getitem__ = lambda *_: pytest.fail("the test split was looked at")

    splits = replace(guess("digits")(), test=Untouchable())
    monkeypatch.setattr("goodfit.tune.tune._final", lambda *_: None)
    seen: list[object] = []

    def spied(given, *rest, **settings):
        seen.append(given.test)
        return prepare(given, *rest, **settings)

    monkeypatch.setattr("goodfit.tune.trial.prepare", spied)
    tuned(splits, quick, budget=Budget(trials=2), folder=tmp_path / "study")
    assert seen
    assert set(seen) == {None}


def test_a_budget_in_time_is_kept(quick, tmp_path):
    report = tuned(
        "digits", quick, budget=Budget(seconds=3), folder=tmp_path / "study",
        steps=("refine",), changes=("train.epochs=2000",),
    )  # fmt: skip
    spent = json.loads((tmp_path / "study" / "steps.json").read_text())["spent"]
    assert spent < 20  # what runs is stopped at the next second; machines may be busy
    assert all(trial.state != "running" for trial in report.trials)


def test_trials_run_on_a_local_ray_cluster(quick, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.chdir(tmp_path)
    report = tuned(
        "digits", quick, budget=Budget(trials=6), on="ray", workers=2, folder="s", steps=("coarse",)
    )
    assert [t.state for t in report.trials] == ["finished"] * 2
    journal = (tmp_path / "s" / "study.journal").read_text()
    pids = set(re.findall(r'"worker": ?\["[^"]*", ?(\d+)\]', journal))
    assert pids
    assert str(os.getpid()) not in pids


def test_ray_without_its_extra_is_refused_before_anything(quick, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"goodfit\[ray\]"):
        tuned("digits", quick, on="ray", folder=tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "words", [{"steps": ("warm-up",)}, {"sampler": "guess"}, {"pruner": "axe"}, {"on": "moon"}]
)
def test_wrong_words_are_refused_before_anything(words, tmp_path):
    with pytest.raises(RecipeError, match="known"):
        tuned("digits", "digits", folder=tmp_path / "study", **words)
    assert not (tmp_path / "study").exists()


def test_without_a_budget_there_are_thirty_trials():
    assert budget_of(None, None, None) == Budget(trials=30)
