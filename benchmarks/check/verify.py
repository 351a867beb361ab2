"""Does every fault hurt, and does every healthy program learn?

python -m benchmarks.check.verify development \
    >> benchmarks/results/check_verified.jsonl

Trains each program and, if it is faulty, its twin, with several seeds. A fault hurts if the
twin's measure is higher by 0.05 on average and higher with every seed; the twin, like every
healthy program, has learnt if its mean measure reaches the program's stated least.
"""

import argparse
import json
import os
import time
from collections.abc import Iterable
from statistics import mean

import torch
from benchmarks.check.program import Program, programs
from benchmarks.check.training import outcome

MARGIN = 0.05  # of the measure, on average over the seeds


def verified(program: Program, seeds: int) -> dict[str, object]:
    start = time.perf_counter()
    runs = [outcome(program.pieces(s, twin=True), program.measure) for s in range(seeds)]
    well, hits = zip(*runs, strict=True)
    row: dict[str, object] = {"program": program.name, "half": program.half, "net": program.net}
    row |= {"measure": program.measure, "seeds": seeds, "steps": program.pieces().steps}
    row |= {"healthy": program.healthy, "least": program.least, "well": rounded(well)}
    row |= {"accuracy": rounded(hits), "learns": mean(well) >= program.least}
    if not program.healthy:
        sick = [outcome(program.pieces(s), program.measure)[0] for s in range(seeds)]
        margins = [w - s for w, s in zip(well, sick, strict=True)]
        row |= {"sick": rounded(sick), "margin": round(mean(margins), 3)}
        row |= {"hurts": mean(margins) >= MARGIN and min(margins) > 0}
    row |= {"seconds": round(time.perf_counter() - start, 1)}
    return row | {"cores": os.cpu_count(), "torch": torch.__version__}


def rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 3) for value in values]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("half", choices=["development", "heldout", "all"])
    ask.add_argument("--only", default="", help="a regular expression on the names")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--done", help="a file of earlier rows; programs in it are skipped")
    args = ask.parse_args()
    torch.set_flush_denormal(True)  # vanishing signals are slow otherwise
    done: set[str] = set()
    if args.done and os.path.exists(args.done):
        with open(args.done) as file:
            done = {json.loads(line)["program"] for line in file}
    for program in programs(args.half, args.only):
        if program.name not in done:
            print(json.dumps(verified(program, args.seeds)), flush=True)


if __name__ == "__main__":
    main()
