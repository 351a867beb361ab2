"""Two processes that train together do what one does: same images, same draws, same result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

RECIPE = """
[model]
kind = "mlp"

[[augment]]
kind = "pad-and-crop"
pad_pixels = 1

[optimizer]
kind = "sgd"
lr = 0.1

[train]
epochs = 0.35
batch_size = 64
precision = "float32"
channels_last = false
"""


NET = """
import os
from collections import OrderedDict

from torch import nn


class Bad(nn.Module):
    def forward(self, x):
        return x * float("nan") if self.training and os.environ.get("RANK") == "1" else x


def net(classes, channels):
    parts = {"flat": nn.Flatten(), "bad": Bad(), "out": nn.Linear(64 * channels, classes)}
    return nn.Sequential(OrderedDict(parts))
"""


def in_two(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess:
    """`goodfit train digits ...` in two processes on the CPU."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "goodfit"),
        *("train", "digits", "--recipe", "r.toml", "--device", "cpu", *words),
    ]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_a_layer_that_is_not_finite_in_one_process_stops_both_and_is_named(
    environment, tmp_path: Path
):
    (tmp_path / "net.py").write_text(NET)
    own = RECIPE.replace('kind = "mlp"', 'kind = "net.py:net"') + "compile = false\ncheck = false\n"
    (tmp_path / "r.toml").write_text(own)
    run = in_two(tmp_path, environment, "--name", "bad")
    assert run.returncode != 0
    assert "no longer finite at step 1" in run.stderr
    assert "net.bad" in run.stderr
    assert "DistributedDataParallel" not in run.stderr
    assert not (tmp_path / "runs/bad/result.json").exists()


@pytest.mark.slow
def test_two_processes_equal_one(goodfit, environment, tmp_path: Path):
    (tmp_path / "r.toml").write_text(RECIPE)
    one = goodfit("train", "digits", "--recipe", "r.toml", "--name", "one")
    assert one.returncode == 0, one.stderr
    two = in_two(tmp_path, environment, "--name", "two")
    assert two.returncode == 0, two.stderr
    a, b = (
        load_file(tmp_path / "runs" / n / "checkpoints/last.safetensors") for n in ("one", "two")
    )
    for name in a:  # gradients are summed in another order: float32 rounding over 7 updates
        assert (a[name].float() - b[name].float()).abs().max() < 1e-5, name
    results = [
        json.loads((tmp_path / "runs" / n / "result.json").read_text()) for n in ("one", "two")
    ]
    assert results[0]["metrics"]["images"] == results[1]["metrics"]["images"] == 359
    accuracies = [r["metrics"]["accuracy"]["value"] for r in results]
    assert abs(accuracies[0] - accuracies[1]) <= 1 / 359
