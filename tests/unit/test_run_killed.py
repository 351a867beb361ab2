"""A run killed at any step, by kill -9 in a process of its own, goes on to the same bits.

The processes come from a server that has imported everything and runs no thread; the command
line's own way is tried in the end-to-end tests.
"""

import signal
import sys
import time
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from goodfit.errors import RunError
from goodfit.run.checkpoint import load_state
from goodfit.run.start import resume, train

pytestmark = pytest.mark.skipif(
    "forkserver" not in get_all_start_methods(), reason="no fork on this system"
)

RECIPE = """
[model]
kind = "mlp"
hidden = [16]

[[augment]]
kind = "mixup"

[optimizer]
kind = "sgd"
lr = 0.05

[train]
epochs = 1
batch_size = 64
precision = "float32"
channels_last = false
compile = false
check = false
workers = 1
checkpoint_seconds = 0.001
"""


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains a recipe on digits under a name; returns the run directory."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # other processes import this file
    monkeypatch.chdir(tmp_path)
    Path("r.toml").write_text(RECIPE)

    def run(name: str, *changes: str) -> Path:
        return train("r.toml", "digits", changes=changes, name=name).path

    return run


def begun(work: Any, *args: Any) -> BaseProcess:
    """A process of its own that does `work`, with one thread."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["goodfit.run.start", "sklearn.datasets"])
    process = context.Process(target=alone, args=(work, *args))
    process.start()
    return process


def alone(work: Any, *args: Any) -> None:
    torch.set_num_threads(1)
    work(*args)


def start(*changes: str) -> None:
    train("r.toml", "digits", changes=changes, name="killed")


def killed(run: Path, step: int, work: Any, *args: Any) -> None:
    """Do `work` in a process that is killed once the run's checkpoint has reached a step."""
    process = begun(work, *args)
    while process.is_alive():
        try:
            if load_state(run / "checkpoints" / "last.pt")["step"] >= step:
                break
        except RunError:
            pass
        time.sleep(0.01)
    process.kill()
    process.join()


def bits(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last.safetensors")


@pytest.mark.parametrize("average", ["train.ema=0.9", "train.swa=0.6"])
def test_killed_twice_and_resumed_with_other_workers_it_ends_with_the_same_bits(trained, average):
    whole = trained("whole", average)
    run = Path("runs/killed")
    killed(run, 4, start, average)
    (run / "checkpoints" / ".last.pt.123456").write_bytes(b"half")
    text = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(text.replace("workers = 1", "workers = 2"))
    if not (run / "result.json").exists():
        killed(run, 9, resume, run)
    resume(run)
    one, other = bits(whole), bits(run)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((run / "steps.jsonl").read_text().splitlines()) == 19
    assert not list(run.rglob(".*")), "half-written files are left"


def test_killed_before_its_report_it_is_finished_by_resume(trained):
    run = trained("a")
    (run / "report.html").unlink()
    before = bits(run)
    resume(run)
    assert (run / "report.html").exists()
    assert all(torch.equal(before[name], tensor) for name, tensor in bits(run).items())


def test_killed_before_its_first_checkpoint_it_logs_nothing_twice(trained):
    run = trained("a")
    for name in ("result.json", "checkpoints/last.pt"):
        (run / name).unlink()
    resume(run)
    assert len((run / "steps.jsonl").read_text().splitlines()) == 19


def on_a_small_disk(size: int) -> None:
    """Train; no file can grow beyond `size` bytes from the fifth step on."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing fails, as on a full disk
    limited = []

    def show(progress: Any) -> None:
        if progress.step >= 5 and not limited:
            limited.append(1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    try:
        train("r.toml", "digits", name="full", show=show)
    except RunError as error:
        Path("said.txt").write_text(str(error))


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_full_disk_keeps_the_last_good_checkpoint_and_resume_goes_on(trained):
    whole, run = trained("whole"), Path("runs/full")
    size = (whole / "checkpoints" / "last.pt").stat().st_size
    begun(on_a_small_disk, size // 2).join()
    said = Path("said.txt").read_text()
    assert "cannot write here" in said
    assert "goodfit resume" in said
    assert 1 <= load_state(run / "checkpoints" / "last.pt")["step"] < 19
    resume(run)
    assert all(torch.equal(bits(whole)[name], tensor) for name, tensor in bits(run).items())


def test_a_truncated_checkpoint_is_said(trained):
    run = trained("a")
    (run / "result.json").unlink()
    place = run / "checkpoints" / "last.pt"
    place.write_bytes(place.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged"):
        resume(run)


def test_a_foreign_checkpoint_is_said(trained):
    run = trained("a")
    (run / "result.json").unlink()
    torch.save({"step": 3, "weights": torch.zeros(3)}, run / "checkpoints" / "last.pt")
    with pytest.raises(RunError, match="not a checkpoint"):
        resume(run)


def test_a_checkpoint_of_another_model_is_said(trained):
    run, other = trained("a"), trained("b", "model.hidden=[8]")
    (run / "result.json").unlink()
    (other / "checkpoints" / "last.pt").replace(run / "checkpoints" / "last.pt")
    with pytest.raises(RunError, match="another model"):
        resume(run)
