"""Ensembles and soups of real, tiny runs: what they say, what they write, what they refuse."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from goodfit.data.adapted import Adapted
from goodfit.data.digits import Digits
from goodfit.ensemble import ensemble
from goodfit.ensemble.members import members_of
from goodfit.ensemble.record import EnsembleReport
from goodfit.errors import RunError
from goodfit.predict import predict
from goodfit.run.load import Run
from goodfit.run.start import train

RECIPE = """
[model]
kind = "cnn"
widths = [16, 16]

[optimizer]
kind = "sgd"
lr = 1.6

[train]
epochs = 2
batch_size = 64
precision = "float32"
channels_last = false

[evaluate]
every = 1
"""


def trained(folder: Path, name: str, *changes: str, data="digits") -> Run:
    return train(folder / "small.toml", data, changes=changes, name=name, runs=folder, device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two runs of other seeds, and one of the first seed with another learning rate."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.toml").write_text(RECIPE)
    trained(folder, "a")
    trained(folder, "b", "train.seed=1")
    trained(folder, "sibling", "optimizer.lr=1.2")
    return folder


@pytest.fixture(scope="module")
def made(folder) -> tuple[Run, EnsembleReport]:
    return ensemble([folder / "a", folder / "b"], name="ab", folder=folder, device="cpu")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    source = Digits()().val
    return torch.stack([source[i][0] for i in range(len(source))])


def of(run: Run, images: torch.Tensor) -> torch.Tensor:
    return predict(run.classifier(device="cpu"), images)


def test_an_ensemble_says_the_mean_of_its_members_probabilities(folder, made, images):
    mean = (of(Run(folder / "a"), images) + of(Run(folder / "b"), images)) / 2
    torch.testing.assert_close(of(made[0], images), mean)


def test_averaged_logits_say_the_geometric_mean(folder, images):
    run, _ = ensemble(
        [folder / "a", folder / "b"], how="logits", name="logits", folder=folder, device="cpu"
    )
    product = of(Run(folder / "a"), images) * of(Run(folder / "b"), images)
    expected = product.sqrt() / product.sqrt().sum(1, keepdim=True)
    torch.testing.assert_close(of(run, images), expected)


def test_an_ensemble_stands_alone_and_evaluates_to_what_it_reports(folder, made, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(made[0].path)  # no path of the members is looked at
    found = Run(moved).evaluate(device="cpu")
    assert found.accuracy == made[1].metrics.accuracy
    assert str(folder / "a") not in (made[0].path / "ensemble.json").read_text()


def test_an_ensemble_keeps_the_users_own_code(tmp_path, images):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n\n\n"
        "def make(classes, channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))\n"
    )
    text = RECIPE.replace('kind = "cnn"\nwidths = [16, 16]', 'kind = "own.py:make"')
    (tmp_path / "small.toml").write_text(text)
    mean = of(trained(tmp_path, "a"), images) / 2
    mean = mean + of(trained(tmp_path, "b", "train.seed=1"), images) / 2
    run, _ = ensemble([tmp_path / "a", tmp_path / "b"], name="ab", folder=tmp_path, device="cpu")
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / name)
    (tmp_path / "own.py").unlink()
    torch.testing.assert_close(of(Run(run.path), images), mean)


def test_the_report_tells_members_and_diversity_on_the_test_split(folder, made):
    _, report = made
    assert [row.name for row in report.members] == ["a:last", "b:last"]
    assert report.split == "test"
    assert report.members[0].accuracy.value == pytest.approx(Run(folder / "a").accuracy)
    assert 0 < report.diversity.disagreement < 1
    best = next(row for row in report.members if row.name == report.best)
    assert report.gain.value == pytest.approx(report.metrics.accuracy.value - best.accuracy.value)
    assert report.weight_bytes > 0


def test_checkpoints_of_one_run_can_be_members(folder):
    _, report = ensemble(
        [folder / "a"], members=("last", "best"), name="one", folder=folder, device="cpu"
    )
    assert [row.name for row in report.members] == ["a:last", "a:best"]


def test_a_uniform_soup_is_an_ordinary_run_of_mean_weights_and_own_batch_norm(folder):
    run, report = ensemble(
        [folder / "a", folder / "sibling"],
        how="uniform-soup",
        name="soup",
        folder=folder,
        device="cpu",
    )
    assert not (run.path / "ensemble.json").exists()
    nets = [Run(folder / name).classifier(device="cpu").net for name in ("a", "sibling", "soup")]
    a, b, soup = (dict(net.named_parameters()) for net in nets)
    for name, tensor in soup.items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2)
    assert run.evaluate(device="cpu").accuracy == report.metrics.accuracy
    assert "uniform-soup of a:last, sibling:last" in run.result["weights"]

    variances = [
        {k: v for k, v in net.state_dict().items() if k.endswith("running_var")} for net in nets
    ]
    assert variances[0]
    for name, own in variances[2].items():
        assert not torch.allclose(own, (variances[0][name] + variances[1][name]) / 2, rtol=1e-3)


def test_a_greedy_soup_is_no_worse_on_validation_than_its_best_member(folder):
    _, report = ensemble(
        [folder / "a", folder / "b", folder / "sibling"],
        how="greedy-soup",
        name="greedy",
        folder=folder,
        device="cpu",
    )
    assert report.validation_accuracy >= max(row.validation_accuracy for row in report.members)
    assert any(row.kept for row in report.members)


def test_classes_are_matched_by_name(folder, images):
    """A run whose classes come in the opposite order agrees with one whose order is usual."""
    splits = Digits()()
    names = tuple(reversed(splits.classes))

    def turned(source):
        items = [(source[i][0], 9 - source[i][1]) for i in range(len(source))]
        return Adapted(items, classes=names, labels=[label for _, label in items])

    other = replace(
        splits, train=turned(splits.train), val=turned(splits.val), test=turned(splits.test)
    )
    trained(folder, "turned", data=other)
    run, report = ensemble(
        [folder / "a", folder / "turned"], data="digits", name="both", folder=folder, device="cpu"
    )
    mean = (of(Run(folder / "a"), images) + of(Run(folder / "turned"), images).flip(1)) / 2
    torch.testing.assert_close(of(run, images), mean)
    assert report.members[1].accuracy.value > 0.4  # of chance: 0.1
    assert run.evaluate(device="cpu").accuracy == report.metrics.accuracy


def test_members_of_another_split_are_refused(folder):
    trained(folder, "other", data=Digits(seed=5))
    with pytest.raises(RunError, match="another split") as error:
        ensemble([folder / "a", folder / "other"], name="no", folder=folder, device="cpu")
    assert "--data" in error.value.fix
    assert not (folder / "no").exists()


def test_soups_of_different_nets_are_refused(folder):
    trained(folder, "wide", "model.widths=[12, 16]")
    with pytest.raises(RunError, match="another model"):
        ensemble([folder / "a", folder / "wide"], how="uniform-soup", name="no", folder=folder)


def test_a_single_member_is_refused(folder):
    with pytest.raises(RunError, match="at least two"):
        ensemble([folder / "a"], folder=folder)


def test_a_member_named_twice_is_refused(folder):
    with pytest.raises(RunError, match="twice"):
        ensemble([folder / "a", folder / "b", folder / "a" / "."], folder=folder)


def test_weights_that_are_not_there_are_refused_with_those_that_are(folder):
    with pytest.raises(RunError, match="no weights called 'snapshots'") as error:
        ensemble([folder / "a"], members=("snapshots",), folder=folder)
    assert error.value.seen["known"] == "best, last"


def test_snapshots_are_all_of_a_runs_in_their_order(folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder / "a", run)
    for name in ("snapshot-02", "snapshot-01"):
        shutil.copy(
            run / "checkpoints" / "best.safetensors", run / f"checkpoints/{name}.safetensors"
        )
    found = members_of([run], ("snapshots", "last"))
    assert [member.weights for member in found] == ["snapshot-01", "snapshot-02", "last"]


def test_an_interrupted_ensemble_leaves_nothing(folder, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("goodfit.ensemble.make.tested", stopped)
    with pytest.raises(KeyboardInterrupt):
        ensemble([folder / "a", folder / "b"], name="stopped", folder=folder, device="cpu")
    assert not (folder / "stopped").exists()


def test_an_ensemble_is_no_member(folder, made):
    with pytest.raises(RunError, match="cannot be a member"):
        ensemble([made[0].path, folder / "a"], folder=folder)


def test_the_command_writes_what_evaluate_takes(goodfit, folder, tmp_path):
    done = goodfit("ensemble", folder / "a", folder / "b", "--name", "ab", "--json")
    assert done.returncode == 0, done.stderr
    accuracy = json.loads(done.stdout)["metrics"]["accuracy"]["value"]
    again = goodfit("evaluate", "runs/ab", "--json")
    assert json.loads(again.stdout)["accuracy"]["value"] == accuracy
