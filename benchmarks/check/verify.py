"""Does every fault hurt, and does every healthy program learn?

python -m benchmarks.check.verify fresh --rows benchmarks/results/check_verified.jsonl

Trains each program and, if it is faulty, its twin. One JSON line per program and seed; lines that
the file already has are not run again. A fault hurts if the twin's measure is higher by 0.05 on
average over the seeds and higher with every seed; the twin, like every healthy program, has learnt
if its mean measure reaches the program's stated least. What fails is printed and leaves the sets.
"""

import argparse
import json
import os
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from benchmarks.check.program import HALVES, Program, programs
from benchmarks.check.training import outcome

MARGIN = 0.05  # of the measure, on average over the seeds
Row = dict[str, Any]


def trained(program: Program, seed: int) -> Row:
    """The program's twin, and the program itself if it is faulty, trained with one seed."""
    start = time.perf_counter()
    well, accuracy = outcome(program.pieces(seed, twin=True), program.measure)
    row: Row = {"program": program.name, "half": program.half, "net": program.net, "seed": seed}
    row |= {"measure": program.measure, "steps": program.pieces().steps, "least": program.least}
    row |= {"healthy": program.healthy, "well": round(well, 3), "accuracy": round(accuracy, 3)}
    if not program.healthy:
        row["sick"] = round(outcome(program.pieces(seed), program.measure)[0], 3)
    row["seconds"] = round(time.perf_counter() - start, 1)
    return row | {"cores": os.cpu_count(), "torch": torch.__version__}


def verdict(program: Program, rows: list[Row]) -> str:
    """What is wrong with the program as a row of the benchmark; empty if nothing is."""
    mine = [row for row in rows if row["program"] == program.name]
    if not mine:
        return "not verified"
    if mean(row["well"] for row in mine) < program.least:
        return "does not learn" if program.healthy else "the twin does not learn"
    margins = [row["well"] - row["sick"] for row in mine if not program.healthy]
    if margins and (mean(margins) < MARGIN or min(margins) <= 0):
        return "does not hurt"
    return "one seed" if len(mine) < 2 else ""


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("half", choices=[*HALVES, "all"])
    ask.add_argument("--rows", type=Path, required=True, help="the file of rows; grows")
    ask.add_argument("--only", default="", help="a regular expression on the names")
    ask.add_argument("--seeds", type=int, default=2)
    args = ask.parse_args()
    torch.set_flush_denormal(True)  # vanishing signals are slow otherwise
    rows = read(args.rows)
    done = {(row["program"], row["seed"]) for row in rows}
    with args.rows.open("a") as file:
        for program in programs(args.half, args.only):
            for seed in range(args.seeds):
                if (program.name, seed) not in done:
                    rows.append(trained(program, seed))
                    print(json.dumps(rows[-1]), file=file, flush=True)
    for program in programs(args.half, args.only):
        if problem := verdict(program, rows):
            print(f"{program.half:12}{program.name}: {problem}")


if __name__ == "__main__":
    main()
