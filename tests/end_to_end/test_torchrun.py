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


@pytest.mark.slow
def test_two_processes_equal_one(goodfit, environment, tmp_path: Path):
    (tmp_path / "r.toml").write_text(RECIPE)
    one = goodfit("train", "digits", "--recipe", "r.toml", "--name", "one")
    assert one.returncode == 0, one.stderr
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", "29765", "-m", "goodfit"),
        *("train", "digits", "--recipe", "r.toml", "--name", "two", "--device", "cpu"),
    ]
    two = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
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
