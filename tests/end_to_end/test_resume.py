"""A run that is killed at any moment and resumed ends with the very bits of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from goodfit.run.checkpoint import load_state


def weights(run: Path) -> dict:
    return load_file(run / "checkpoints" / "last.safetensors")


def same(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


@pytest.fixture
def started(tmp_path: Path, environment: dict[str, str]):
    """Starts `goodfit train digits ...` and does not wait for it."""

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "goodfit", "train", "digits", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=pipe, stdout=pipe, text=True
        )

    return start


def until_step(run: Path, step: int, process: subprocess.Popen) -> None:
    """Wait until the checkpoint has reached a step; the process must still be at work then."""
    for _ in range(3000):
        if process.poll() is not None:
            pytest.fail(f"ended early: {process.stderr.read()}")
        try:
            if load_state(run / "checkpoints" / "last.pt")["step"] >= step:
                return
        except Exception:  # not there yet
            pass
        time.sleep(0.02)
    pytest.fail("no checkpoint came")


SLOW = ("--set", "train.epochs=12", "--set", "train.checkpoint_seconds=0.01")


def test_kill_and_resume_give_the_same_bits(goodfit, started, tiny, tmp_path):
    whole = goodfit("train", "digits", "--recipe", tiny, "--name", "whole", *SLOW)
    assert whole.returncode == 0, whole.stderr
    process = started("--recipe", str(tiny), "--name", "killed", *SLOW)
    until_step(tmp_path / "runs/killed", 25, process)  # mid-epoch: an epoch has 19 steps
    process.kill()
    process.wait()
    resumed = goodfit("resume", "runs/killed")
    assert resumed.returncode == 0, resumed.stderr
    assert same(tmp_path / "runs/whole", tmp_path / "runs/killed")
    steps = [
        line for line in (tmp_path / "runs/killed/steps.jsonl").read_text().splitlines() if line
    ]
    assert len(steps) == 12 * 19
    again = goodfit("resume", "runs/killed")
    assert again.returncode == 0
    assert "finished already" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(started, tiny, tmp_path, number):
    process = started("--recipe", str(tiny), "--name", "asked", *SLOW)
    until_step(tmp_path / "runs/asked", 5, process)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "everything is saved" in said
    assert "goodfit resume runs/asked" in said
    assert "Traceback" not in said


def test_a_damaged_checkpoint_is_said(goodfit, tiny, tmp_path):
    assert goodfit("train", "digits", "--recipe", tiny, "--name", "a").returncode == 0
    (tmp_path / "runs/a/result.json").unlink()
    (tmp_path / "runs/a/checkpoints/last.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    said = goodfit("resume", "runs/a")
    assert said.returncode == 2
    assert "damaged" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_pickle_that_would_run_code_is_not_loaded(goodfit, tiny, tmp_path):
    import pickle

    assert goodfit("train", "digits", "--recipe", tiny, "--name", "a").returncode == 0
    (tmp_path / "runs/a/result.json").unlink()

    class Evil:
        def __reduce__(self):
            return os.system, ("touch owned",)

    (tmp_path / "runs/a/checkpoints/last.pt").write_bytes(pickle.dumps(Evil()))
    assert goodfit("resume", "runs/a").returncode == 2
    assert not (tmp_path / "owned").exists()


def test_data_that_changed_is_said(goodfit, tiny, tmp_path):
    assert goodfit("train", "digits", "--recipe", tiny, "--name", "a").returncode == 0
    (tmp_path / "runs/a/result.json").unlink()
    text = (tmp_path / "runs/a/recipe.toml").read_text()
    (tmp_path / "runs/a/recipe.toml").write_text(text.replace("val = 0.1", "val = 0.2"))
    said = goodfit("resume", "runs/a")
    assert said.returncode == 2
    assert "the data has changed" in said.stderr
