"""Transfer of a tiny net: what is frozen stays frozen, and every mode leaves a run that works."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from goodfit.cli import main
from goodfit.data import Splits, guess
from goodfit.errors import DataError, ModelError, RunError
from goodfit.run.load import Run
from goodfit.run.start import resume
from goodfit.transfer import transfer

RECIPE = """
[model]
kind = "timm"
arch = "test_resnet"
stem = "full"

[[augment]]
kind = "flip"

[optimizer]
kind = "adamw"
lr = 0.001

[train]
epochs = 2
batch_size = 16
check = false
precision = "float32"
channels_last = false
"""
HEAD = ("net.fc.weight", "net.fc.bias")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Reddish and bluish images, weights, and a recipe."""
    place = tmp_path_factory.mktemp("transfer")
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 2
    images = rng.integers(0, 120, (96, 32, 32, 3))
    images[labels == 0, :, :, 0] += 60
    images[labels == 1, :, :, 2] += 60
    np.savez(place / "colors.npz", x=images.astype(np.uint8), y=labels)
    Image.fromarray(images[0].astype(np.uint8)).save(place / "red.png")
    torch.manual_seed(0)
    net = timm.create_model("test_resnet", num_classes=10)
    net.train()
    net(torch.randn(64, 3, 32, 32))  # statistics of batch norm that are not the initial ones
    save_file(net.state_dict(), place / "weights.safetensors")
    (place / "recipe.toml").write_text(RECIPE)
    return place


def made(place: Path, mode: str, name: str, *changes: str, data=None, **settings) -> Run:
    return transfer(
        data or place / "colors.npz",
        str(place / "weights.safetensors"),
        mode=mode,
        recipe=place / "recipe.toml",
        changes=changes,
        device="cpu",
        name=name,
        runs=place / "runs",
        **settings,
    )


@pytest.fixture(scope="module")
def probe(place) -> Run:
    return made(place, "probe", "probe", cache=place / "cache")


def test_a_probe_leaves_everything_below_the_classifier_bit_for_bit(place, probe):
    before = load_file(place / "weights.safetensors")
    after = load_file(probe.path / "checkpoints" / "last.safetensors")
    below = {name for name in after if name.startswith("net.") and name not in HEAD}
    assert {f"net.{name}" for name in before} - set(HEAD) == below
    for name in below:
        assert torch.equal(after[name], before[name.removeprefix("net.")]), name


def test_a_probe_is_a_run_like_any_other(place, probe):
    assert probe.finished
    assert probe.result["split"] == "test"
    assert probe.evaluate(device="cpu").accuracy.value == probe.accuracy
    rows, skipped = probe.predict([place / "red.png"], device="cpu")
    assert len(rows) == 1
    assert not skipped
    assert (probe.path / "report.html").exists()
    assert probe.accuracy > 0.8


def test_what_was_done_is_recorded(probe):
    record = json.loads((probe.path / "transfer.json").read_text())
    assert record["mode"] == "probe"
    best = min(record["grid"], key=lambda row: row["loss"])
    assert record["probe"] == {"l2": best["l2"], "validation_accuracy": best["accuracy"]}


def test_cached_features_give_the_same_probe(place, probe):
    again = made(place, "probe", "again", cache=place / "cache")
    assert len(list((place / "cache").iterdir())) == 2  # training and validation
    one, two = (load_file(r.path / "checkpoints" / "last.safetensors") for r in (probe, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_one_stage_trains_the_classifier_alone(place):
    kind = '[[layers]]\nkind = "goodfit.transfer.freezing:GradualUnfreezing"\nstages = 1\n'
    (place / "head.toml").write_text(RECIPE + kind)
    run = transfer(
        place / "colors.npz",
        str(place / "weights.safetensors"),
        mode="fine-tune",
        recipe=place / "head.toml",
        device="cpu",
        name="head",
        runs=place / "runs",
    )
    before = load_file(place / "weights.safetensors")
    after = load_file(run.path / "checkpoints" / "last.safetensors")
    for name, tensor in before.items():
        if f"net.{name}" not in HEAD:
            assert torch.equal(after[f"net.{name}"], tensor), name
    assert after["net.batches_seen"] == run.result["steps"]


@pytest.mark.parametrize("mode", ["two-phase", "gradual"])
def test_the_whole_net_is_trained_in_the_end(place, probe, mode):
    run = made(place, mode, mode)
    before = load_file(place / "weights.safetensors")
    after = load_file(run.path / "checkpoints" / "last.safetensors")
    assert not torch.equal(after["net.conv1.0.weight"], before["conv1.0.weight"])
    assert run.recipe.optimizer.layer_decay == 0.75
    assert run.evaluate(device="cpu").accuracy.value == run.accuracy


def test_killed_before_its_first_checkpoint_a_second_phase_goes_on_from_the_probe(place):
    class Killed(Exception):
        pass

    def killed(_):
        raise Killed

    whole = made(place, "two-phase", "whole")
    with pytest.raises(Killed):
        made(place, "two-phase", "killed", show=killed)
    again = resume(place / "runs" / "killed", device="cpu")
    one, two = (load_file(r.path / "checkpoints" / "last.safetensors") for r in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_train_begins_with_weights_and_says_how(place, capsys, monkeypatch):
    words = ["train", place / "colors.npz", "--from", place / "weights.safetensors"]
    words += ["--recipe", place / "recipe.toml", "--runs", place / "runs", "--name", "from"]
    monkeypatch.setattr("sys.argv", ["goodfit", *map(str, words), "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    shown = capsys.readouterr()
    assert "mode probe: 38 images per class" in shown.err
    assert "test images" in shown.out


def test_few_images_are_probed_and_the_reason_is_said(place):
    lines: list[str] = []
    run = made(place, "auto", "auto", say=lines.append)
    record = json.loads((run.path / "transfer.json").read_text())
    assert record["mode"] == "probe"
    assert f"mode probe: {record['why']}" in lines
    assert "38 images per class" in record["why"]


def test_without_weights_there_is_nothing_to_transfer(place):
    with pytest.raises(ModelError, match="no weights to begin with") as caught:
        transfer(place / "colors.npz", recipe="digits", runs=place / "none")
    assert "--from" in caught.value.fix
    assert not (place / "none").exists()


def test_a_file_of_other_weights_is_refused_and_leaves_nothing_behind(place):
    save_file({"a": torch.zeros(3)}, place / "other.safetensors")
    (place / "text.safetensors").write_text("not weights")
    for name in ("other", "text", "missing"):
        with pytest.raises(ModelError) as caught:
            transfer(
                place / "colors.npz",
                str(place / f"{name}.safetensors"),
                recipe=place / "recipe.toml",
                runs=place / "none",
            )
        assert name in str(caught.value)
        assert caught.value.fix
    assert not (place / "none").exists()


def test_a_run_is_never_written_over(place, probe):
    with pytest.raises(RunError, match="already a run"):
        made(place, "probe", "probe")


def test_a_probe_needs_validation_images(place):
    with pytest.raises(DataError, match="no validation images"):
        transfer(
            _all_for_training(place),
            str(place / "weights.safetensors"),
            recipe=place / "recipe.toml",
            mode="probe",
            device="cpu",
            runs=place / "none",
        )


def _all_for_training(place: Path) -> Splits:
    splits = guess(place / "colors.npz")()
    return replace(splits, val=splits.train.take([]))


@pytest.fixture
def convolution(place):
    """A recipe of a net that ends without a linear layer."""
    (place / "squeeze.py").write_text(
        "from torch import nn\n"
        "class Squeeze(nn.Module):\n"
        "    def __init__(self, classes, channels):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(channels, classes, 3)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x).mean((2, 3))\n"
    )
    (place / "convolution.toml").write_text('[model]\nkind = "squeeze.py:Squeeze"\n')
    return place / "convolution.toml"


def test_a_probe_cannot_be_made_of_a_net_that_does_not_end_in_a_linear_layer(place, convolution):
    with pytest.raises(ModelError, match="not a linear classifier") as caught:
        transfer(place / "colors.npz", recipe=convolution, mode="probe", device="cpu")
    assert "fine-tune" in caught.value.fix


def test_where_no_probe_can_be_made_all_layers_are_trained(place, convolution):
    lines: list[str] = []
    run = transfer(
        place / "colors.npz",
        recipe=convolution,
        changes=("train.epochs=1", "train.batch_size=48", "train.check=false"),
        device="cpu",
        runs=place / "runs",
        say=lines.append,
    )
    assert run.finished
    assert any(line.startswith("mode fine-tune: a probe cannot be made") for line in lines)
