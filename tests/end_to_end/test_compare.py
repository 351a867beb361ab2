"""Comparisons of a tiny net on digits: paired to the bit, resumable, never wrong where equal."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from goodfit.compare import study
from goodfit.compare.compare import compared
from goodfit.run.start import train

RECIPE = """
about = "{about}"

[model]
kind = "cnn"
widths = [16]
dropout = 0.1

[[augment]]
kind = "mixup"
prob = 0.0

[[augment]]
kind = "pad-and-crop"
pad_pixels = 1

[optimizer]
kind = "adamw"
lr = 0.02

[train]
epochs = 6
batch_size = 32
check = false
precision = "float32"
channels_last = false
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A few hundred digits, and a recipe under two names."""
    place = tmp_path_factory.mktemp("compare")
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    parts = {"train": slice(0, 256), "val": slice(256, 512)}
    arrays = {f"x_{name}": images[part] for name, part in parts.items()}
    np.savez(place / "d.npz", **arrays, **{f"y_{n}": labels[part] for n, part in parts.items()})
    for name in ("base", "same"):
        (place / f"{name}.toml").write_text(RECIPE.format(about=name))
    return place


def ran(place: Path, *recipes: str, seeds: int = 2, folder: str = "study", **settings):
    """A comparison, its arms by name, and which trials were begun."""
    report = compared(
        [str(place / f"{name}.toml") for name in ("base", *recipes)],
        str(place / "d.npz"),
        seeds=seeds,
        workers=0,
        folder=place / folder,
        device="cpu",
        **settings,
    )
    return {arm.name: arm for arm in report.arms}


@pytest.fixture
def begun(monkeypatch) -> list[str]:
    """Names of the trials that are trained from now on."""
    names: list[str] = []

    def counted(recipe, data, *, name, **settings):
        names.append(name)
        return train(recipe, data, name=name, **settings)

    monkeypatch.setattr(study, "train", counted)
    return names


def test_what_does_nothing_makes_no_difference_to_the_bit(place, begun):
    arms = ran(place, "same", without=("mixup",))
    assert len(begun) == 6
    assert {arm.verdict for arm in arms.values()} == {"no difference"}
    for arm in arms.values():
        assert (arm.accuracy.value, arm.nll.value) == (0, 0)
    found = [torch.load(run / "val.pt")["probabilities"] for run in (place / "study").glob("*/")]
    alike = [sum(torch.equal(one, other) for other in found) for one in found]
    assert alike == [3] * 6  # base and both arms, by seed: order, crops and dropout are shared


def test_a_finished_comparison_trains_nothing_again(place, begun):
    ran(place, "same", without=("mixup",), folder="again")
    first = len(begun)
    ran(place, "same", without=("mixup",), folder="again")
    ran(place, "same", folder="again", changes=("optimizer.lr=0.02",))  # the base's own value
    assert len(begun) == first == 6


def test_an_interrupted_comparison_goes_on_where_it_stopped(place, begun, monkeypatch):
    class Killed(Exception):
        pass

    def dies(recipe, data, **settings):
        if len(begun) == 1:
            begun.append("dies")

            def stop(_):
                raise Killed

            return train(recipe, data, show=stop, **settings)
        begun.append("whole")
        return train(recipe, data, **settings)

    monkeypatch.setattr(study, "train", dies)
    with pytest.raises(Killed):
        ran(place, "same", folder="killed")
    resumed: list[Path] = []

    def resume(path, **settings):
        resumed.append(path)
        return goes_on(path, **settings)

    goes_on = study.resume
    monkeypatch.setattr(study, "resume", resume)
    arms = ran(place, "same", folder="killed")
    assert begun == ["whole", "dies", "whole", "whole"]
    assert len(resumed) == 1
    assert [arm.accuracy.value for arm in arms.values()] == [0]


def test_a_clear_arm_is_decided_early_and_an_equal_one_never_falsely(place, begun):
    arms = ran(
        place,
        "same",
        seeds=6,
        folder="sequential",
        changes=("optimizer.lr=1e-6",),
        until_decided=True,
    )
    assert arms["optimizer.lr=1e-6"].verdict == "hurts"
    assert arms["optimizer.lr=1e-6"].seeds < 6
    assert next(arm for name, arm in arms.items() if "same" in name).verdict == "no difference"
    assert len(begun) < 3 * 6
