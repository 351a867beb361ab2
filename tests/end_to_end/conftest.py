"""The real command line, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """One thread per process: the tests share the machine."""
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def goodfit(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs `goodfit ...` in a new folder and gives what it printed and its exit code."""

    def run(*words: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "goodfit", *map(str, words)]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe that trains in a second and draws everything that can be drawn."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
[model]
kind = "cnn"
widths = [8]
dropout = 0.2

[[augment]]
kind = "pad-and-crop"
pad_pixels = 1

[[augment]]
kind = "mixup"

[optimizer]
kind = "sgd"
lr = 0.05

[train]
epochs = 3
batch_size = 64
ema = 0.9
precision = "float32"
channels_last = false

[evaluate]
every = 1
"""
    )
    return path
