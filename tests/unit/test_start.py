"""Which data a run opens, what of it may be changed, and what a refused run leaves."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from goodfit.data.arrays import Arrays
from goodfit.errors import GoodfitError, TrainingError
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.recipe.read import read, split_changes
from goodfit.recipe.recipe import Recipe
from goodfit.run.fitting import colored, cost_share
from goodfit.run.load import Run
from goodfit.run.start import NOT_TIMED, prepare, resume, train


@pytest.fixture
def gray(tmp_path: Path) -> Path:
    """Forty gray images of two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "gray.npz", x=pixels, y=np.array(["ant", "bee"] * 20))
    return tmp_path / "gray.npz"


def test_changes_of_one_section_are_told_from_the_others():
    settings, rest = split_changes("data", ("data.val=0.2", "train.epochs=1", "data.seed=3"))
    assert settings == {"val": 0.2, "seed": 3}
    assert rest == ("train.epochs=1",)


def test_the_command_line_changes_how_data_is_opened(gray):
    job = prepare(gray, "digits", changes=("data.val=0.5", "data.test=0", *NOT_TIMED), dry=True)
    assert {name: len(part) for name, part in job.splits.parts().items()} == {
        "train": 20,
        "val": 20,
    }
    assert job.recipe.data.val == 0.5  # so that a resumed run opens the same


def test_a_recipe_with_data_needs_no_other(gray, tmp_path):
    text = f'extends = "digits"\n[data]\nkind = "arrays"\npath = "{gray.as_posix()}"\n'
    (tmp_path / "own.toml").write_text(text, "utf-8")
    job = prepare(None, tmp_path / "own.toml", changes=NOT_TIMED, dry=True)
    assert job.splits.classes == ("ant", "bee")


@pytest.mark.parametrize("recipe", [None, "digits"])
def test_training_on_nothing_is_refused(recipe):
    with pytest.raises(GoodfitError, match="nothing to train on"):
        prepare(None, recipe, dry=True)


def test_gray_images_get_three_channels_where_the_constants_have_three(gray):
    data, said = Arrays(path=gray), []
    wanted = Recipe(preprocess=ChannelStats(constants="imagenet"))
    splits, opened = colored(wanted, data(), data, said.append)
    assert (splits.channels, splits.train[0][0].shape[0], opened.channels) == (3, 3, 3)
    assert len(said) == 1
    own, unchanged = colored(Recipe(), data(), data, said.append)
    assert (own.channels, unchanged) == (1, data)


def test_smaller_images_early_in_a_run_cost_less():
    train = read("digits").train.replaced(image_size=224, sizes=[[0.0, 112], [0.5, 224]])
    assert cost_share(train) == pytest.approx(0.5 * 0.25 + 0.5)


def test_other_data_without_splits_is_tested_whole(gray, monkeypatch):
    run = Run.__new__(Run)
    run.__dict__["recipe"] = Recipe(data=Arrays(path=gray.with_name("own.npz")))
    monkeypatch.setattr(Run, "classes", ("bee", "wasp", "ant"))
    source = run._source(str(gray), None)
    assert len(source) == 40
    assert source.labels[:2].tolist() == [2, 0]  # ant and bee, by name


def test_the_runs_own_data_keeps_its_test_split(gray, monkeypatch):
    run = Run.__new__(Run)
    run.__dict__["recipe"] = Recipe(data=Arrays(path=gray))
    monkeypatch.setattr(Run, "classes", ("ant", "bee"))
    monkeypatch.setattr(Run, "splits", lambda self: self.recipe.data())
    assert len(run._source(str(gray), None)) == 4


def test_a_run_that_the_doctor_stops_before_it_starts_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("def loss(logits, targets):\n    raise ValueError('no targets')\n")
    Path("r.toml").write_text('extends = "digits"\n[loss]\nkind = "own.py:loss"\n')
    with pytest.raises(TrainingError, match="would not survive"):
        train("r.toml", "digits", changes=("train.epochs=1",), name="a")
    assert not Path("runs").exists()


def test_an_older_run_that_cannot_go_on_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("def loss(logits, targets):\n    raise ValueError('no targets')\n")
    Path("r.toml").write_text('extends = "digits"\n[loss]\nkind = "own.py:loss"\n')
    job = prepare("digits", "r.toml", name="killed-at-once")
    with pytest.raises(TrainingError, match="would not survive"):
        resume(job.directory.path)
    assert (job.directory.path / "recipe.toml").exists()


def test_starting_and_predicting_load_neither_the_compiler_nor_scipy():
    heavy = "torch._dynamo", "scipy", "sklearn", "torchvision", "timm"  # seconds on a slow machine
    code = "import sys, goodfit.run.start, goodfit.run.load, goodfit.predict\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert "torch" in loaded.stdout.split()
    assert not set(heavy) & set(loaded.stdout.split())
