"""The whole of `goodfit compare`: from recipe names to a report, resumable at any moment."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

from goodfit.compare.arms import Arm, arms, from_files
from goodfit.compare.study import Study
from goodfit.errors import RecipeError, RunError
from goodfit.recipe.read import read
from goodfit.report.records import Arm as ArmRecord
from goodfit.report.records import ComparisonReport


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1)


def compared(
    recipes: list[str],
    data: str,
    *,
    without: tuple[str, ...] = (),
    with_: tuple[str, ...] = (),
    changes: tuple[str, ...] = (),
    base_changes: tuple[str, ...] = (),
    leave_one_out: bool = False,
    seeds: int = 5,
    until_decided: bool = False,
    delta: float = 0.005,
    split: str = "val",
    workers: int = 1,
    folder: Path | None = None,
    device: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> ComparisonReport:
    """Run what is missing of a comparison and judge it.

    recipes: the base first; further ones are arms. changes: fields with one or more values.
    workers: trainings at a time, each in a process of its own, so that one's memory and crashes
        are its own; 0 trains in this process.
    split: "val", where choices are made; "test" is for the report of a choice made before.
    Raises RecipeError when nothing would be compared, or a name is unknown.
    """
    if split not in ("val", "test"):
        raise RecipeError(f"there is no split {split!r} to compare on", fix="use val or test")
    base = Arm(recipes[0], read(recipes[0], base_changes))
    made = from_files(recipes[0], recipes[1:], base_changes)
    if without or with_ or changes or leave_one_out or not made:
        made += arms(
            base.recipe,
            without=without,
            with_=with_,
            changes=changes,
            leave_one_out=leave_one_out,
        )
    folder = folder or Path("runs") / f"compare-{Path(recipes[0]).stem}"
    study = Study(base, made, data, folder, split=split, delta=delta, device=device)
    records: list[ArmRecord] = []
    pool = _pool(workers) if workers else None
    try:
        with pool or nullcontext():
            for done, records in study.run(seeds, until_decided=until_decided, pool=pool):
                study.save(study.report(records, folder.name))
                verdicts = ", ".join(f"{r.name}: {r.verdict}" for r in records)
                say(f"{done} seeds: {verdicts}")
    except BrokenProcessPool:
        raise RunError(
            "a training was ended from outside, perhaps for want of memory",
            at=str(folder),
            fix="the same command goes on where it stopped; fewer --workers need less memory",
        ) from None
    return study.report(records, folder.name)
