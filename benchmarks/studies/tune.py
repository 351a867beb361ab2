"""Does `tune` end above random search and above a recipe's defaults with a bad rate, in equal time?

Three arms of a seed run side by side, each in one thread on the same core, for the same wall time,
from one recipe whose rate is a hundred times too low. Both searches have the space of
tune-space.toml:

    tune        the seven steps, the final run included
    random      whole trainings with settings drawn from the space; the best on validation is
                kept. One that the time cuts off does not count.
    defaults    the recipe as it is, again and again with other seeds; the best on validation

The search sees no test image; each arm's net is tested once, at the end.

python benchmarks/studies/tune.py --data cifar-16px.npz --minutes 6 --seeds 0 1 2 >> results.jsonl
"""

import argparse
import json
import os
import random
import tempfile
import time
import tomllib
from collections.abc import Iterator
from math import exp, log
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from goodfit.data import guess
from goodfit.recipe.read import read
from goodfit.run.job import Progress
from goodfit.run.load import Run
from goodfit.run.start import train
from goodfit.tune.budget import Budget
from goodfit.tune.space import Space, base_of, read_space
from goodfit.tune.trial import hidden
from goodfit.tune.tune import tuned

RECIPE = Path(__file__).with_name("regularizers.toml")
SPACE = Path(__file__).with_name("tune-space.toml")
BASE = ("optimizer.lr=0.0003", "train.epochs=6", "evaluate.every=6")  # the rate was 0.03


class _Late(Exception):
    """The time is over."""


def by_tune(data: str, seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    report = tuned(
        data,
        RECIPE,
        budget=Budget(seconds=seconds),
        space=SPACE,
        changes=(*BASE, f"train.seed={seed}"),
        folder=folder,
        seed=seed,
    )
    assert report.test is not None
    result = Run(folder / "final").result
    return {
        "accuracy": report.test.accuracy.value,
        "validation": result["validation"]["accuracy"]["value"],
        "trials": len(report.trials),
        "settings": dict(_chosen(Run(folder / "final"))),
    }


def _chosen(run: Run) -> Iterator[tuple[str, Any]]:
    """What the run has of the fields that are searched."""
    for field in tomllib.loads(SPACE.read_text()):
        section, name = field.split(".")
        yield field, getattr(getattr(run.recipe, section), name)


def _drawn(space: Space, draws: random.Random) -> list[str]:
    """Settings of one random trial."""
    found = []
    for d in space:
        low, high = (log(d.low), log(d.high)) if d.logarithmic else (d.low, d.high)
        value = draws.uniform(low, high)
        found.append(f"{d.field}={d.text(exp(value) if d.logarithmic else value)}")
    return found


def by_trainings(
    data: str, seconds: float, seed: int, folder: Path, draws: random.Random | None
) -> dict[str, Any]:
    """Whole trainings until the time is over; with `draws`, of random settings."""
    space = read_space(SPACE, base_of(RECIPE, BASE))
    began, splits = time.monotonic(), hidden(guess(data)())
    best: tuple[float, Run] | None = None
    count = 0

    def late(_: Progress) -> None:
        if time.monotonic() - began > seconds:
            raise _Late

    while True:
        changes = [*BASE, f"train.seed={seed + 1000 * count}"]
        if draws is not None:
            changes += _drawn(space, draws)
        try:
            recipe = read(str(RECIPE), tuple(changes))
            run = train(recipe, splits, name=str(count), runs=folder, show=late)
        except _Late:
            break
        except Exception as error:  # a rate that breaks the training is a bad one
            print(f"training {count}: {error}", flush=True)
            count += 1
            continue
        count += 1
        found = float(run.result["validation"]["accuracy"]["value"])
        if best is None or found > best[0]:
            best = found, run
    if best is None:
        return {"accuracy": None, "trials": count}
    tested = best[1].evaluate(data, split="test")
    about = {"accuracy": tested.accuracy.value, "validation": best[0], "trials": count}
    return about | {"settings": dict(_chosen(best[1]))}


def one(arm: str, data: str, seconds: float, seed: int, core: int, out: Any) -> None:
    """An arm of a seed, in a process of its own."""
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as place:
        folder, began = Path(place) / arm, time.monotonic()
        if arm == "tune":
            found = by_tune(data, seconds, seed, folder)
        else:
            draws = random.Random(seed) if arm == "random" else None
            found = by_trainings(data, seconds, seed, folder, draws)
    row = {"arm": arm, "seed": seed} | found
    row |= {"wall_seconds": round(time.monotonic() - began, 1)}
    row |= {"cpu_seconds": round(time.process_time(), 1), "torch": torch.__version__}
    out.put(row)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", required=True, help="what cifar_subset.py wrote")
    ask.add_argument("--minutes", type=float, default=6, help="of every arm")
    ask.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = ask.parse_args()
    context = get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))
    for seed in args.seeds:
        core = cores[seed % len(cores)]
        out = context.Queue()
        arms = [
            context.Process(target=one, args=(arm, args.data, 60 * args.minutes, seed, core, out))
            for arm in ("tune", "random", "defaults")
        ]
        for arm in arms:
            arm.start()
        for _ in arms:
            print(json.dumps(out.get() | {"minutes": args.minutes}), flush=True)
        for arm in arms:
            arm.join()


if __name__ == "__main__":
    main()
