"""The processes of one study: one leads and walks the steps, the others help with its trials.

The leader holds a lock on the study's folder and writes there which stage is on; helpers read it,
ask the storage for trials and run them. When the leader dies its lock is free, and a helper that a
person started takes over.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from goodfit.data import Splits
from goodfit.errors import GoodfitError, MissingExtraError
from goodfit.run.directory import writing
from goodfit.run.start import open_data
from goodfit.tune.held import held
from goodfit.tune.stage import Stage
from goodfit.tune.study import work
from goodfit.tune.trial import hidden

_WAIT = 0.3  # seconds between looks at the folder
_ENDED = "ended"  # a file that sends the helpers home: one that is killed may hold a lock
_PATIENCE = 15.0  # seconds that they have for it
_AGAIN = 5.0  # seconds between looks at a stage that had nothing to do: a crash gives it some


@contextmanager
def leading(folder: Path) -> Iterator[bool]:
    """Whether this process leads the study, for the time of a `with`; freed when it dies."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        yield _locked(file)


def _locked(file: Any) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def led(folder: Path) -> bool:
    """Whether some process leads the study now."""
    with leading(folder) as mine:
        return not mine


def help_out(
    folder: Path,
    splits: Splits,
    *,
    salt: int = 0,
    say: Callable[[str], None] = lambda line: None,
    ended: Callable[[], bool] = lambda: False,
) -> None:
    """Work on whatever stage is on, until it has `ended` or nobody leads the study any more."""
    last, since = None, 0.0
    while led(folder) and not ended():
        stage = None
        with suppress(FileNotFoundError, ValueError):
            stage = Stage.read(folder / "stage.json")
        if stage is not None and (stage != last or time.monotonic() - since > _AGAIN):
            work(stage, splits, salt=salt, say=say)
            last, since = stage, time.monotonic()
        time.sleep(_WAIT)


def helper(folder: str, data: str, salt: int) -> None:
    """A helper's whole life, in a process of its own."""
    splits, _ = open_data(data)
    help_out(Path(folder), held(hidden(splits)), salt=salt, ended=(Path(folder) / _ENDED).exists)


@contextmanager
def helpers(folder: Path, data: Any, count: int, on: str) -> Iterator[Callable[[], None] | None]:
    """Start `count` helpers, or on Ray one more, so that the leader need not run trials, too.

    Yields None, or on Ray a function that raises GoodfitError when a helper has failed.
    """
    (folder / _ENDED).unlink(missing_ok=True)
    if on == "ray":
        with _on_ray(folder, data, count + 1) as check:
            yield check
        return
    if count and not isinstance(data, str | Path):
        raise GoodfitError(
            "data made in Python cannot travel to other processes",
            fix="give a path or a name, or workers=1",
        )
    context = get_context("spawn")
    started = [
        context.Process(target=helper, args=(str(folder), str(data), n + 1)) for n in range(count)
    ]
    for process in started:
        process.start()
    try:
        yield None
    finally:
        (folder / _ENDED).touch()
        until = time.monotonic() + _PATIENCE
        for process in started:
            process.join(max(0.0, until - time.monotonic()))
            process.terminate()
            process.join()


@contextmanager
def _on_ray(folder: Path, data: Any, count: int) -> Iterator[Callable[[], None]]:
    """Helpers as tasks on a Ray cluster, one GPU each; all machines must see the folder."""
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "running trials on Ray") from None
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    except Exception as error:  # ray raises whatever it likes where it cannot begin
        raise GoodfitError(
            "there is no Ray cluster to be reached",
            seen=str(error).splitlines()[0],
            fix="correct RAY_ADDRESS, or unset it for a cluster on this machine alone",
        ) from None
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call,unused-ignore]
    gpus = 1 if resources.get("GPU", 0) else 0
    task = ray.remote(num_gpus=gpus, num_cpus=1, max_retries=-1)(_there)
    place = str(Path.cwd())
    running = [task.remote(place, str(folder), str(data), n + 1) for n in range(count)]

    def check() -> None:
        ended, _ = ray.wait(running, timeout=0)  # before the study does: that is a failure
        for one in ended:
            try:
                ray.get(one)
            except ray.exceptions.RayError as error:
                raise GoodfitError(
                    "a helper on the Ray cluster failed",
                    at=str(folder),
                    seen=str(error).strip().splitlines()[-1],
                    fix="all machines must see the study's folder and the data under one path",
                ) from None

    try:
        yield check
    finally:
        (folder / _ENDED).touch()
        _, late = ray.wait(running, num_returns=len(running), timeout=_PATIENCE)
        for one in late:
            ray.cancel(one, force=True)
        ray.shutdown()


def _there(place: str, folder: str, data: str, salt: int) -> None:
    """A helper in the folder where the leader was started, on whatever machine it is."""
    os.chdir(place)
    helper(folder, data, salt)
