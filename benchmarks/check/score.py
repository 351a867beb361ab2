"""What does each doctor say of each program?

python -m benchmarks.check.score fresh --doctor goodfit --rows benchmarks/results/check_fresh.jsonl

Every program is shown to the doctor, each faulty one also as its healthy twin. One JSON line per
program, twin and doctor, with the errors and warnings as alarms; lines that the file already has
are not run again. `table.py` counts them.
"""

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.check.alarm import Alarm
from benchmarks.check.program import HALVES, Pieces, Program, is_right_place, programs

DOCTORS = {"goodfit": "goodfit_doctor", "sagemaker": "sagemaker", "torch-audit": "torch_audit"}
Row = dict[str, Any]


def examined(program: Program, twin: bool, doctor: str) -> Row:
    """What one doctor says of one program, as a row."""
    module = importlib.import_module(f"benchmarks.check.{DOCTORS[doctor]}")
    diagnose: Callable[[Pieces], list[Alarm]] = module.diagnose
    pieces = program.pieces(twin=twin)
    start, crash = time.perf_counter(), ""
    try:
        alarms = diagnose(pieces)
    except Exception as error:
        alarms, crash = [], f"{type(error).__name__}: {error}"[:300]
    seconds = round(time.perf_counter() - start, 2)
    row: Row = {"program": program.name, "half": program.half, "net": program.net}
    row |= {"doctor": doctor, "twin": twin, "healthy": program.healthy or twin}
    row |= {"causes": sorted(program.causes), "alarms": [[a.name, a.where] for a in alarms]}
    if not row["healthy"]:
        right = [a for a in alarms if a.means & program.causes]
        row |= {"cause": bool(right), "first": bool(alarms and alarms[0] in right)}
        if program.where:
            row["place"] = any(is_right_place(a.where, program.where) for a in right)
            row["places"] = sorted(program.where)
    row |= {"seconds": seconds, "crash": crash, "threads": torch.get_num_threads()}
    return row | {"cores": os.cpu_count(), "torch": torch.__version__}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("half", choices=[*HALVES, "all"])
    ask.add_argument("--doctor", choices=sorted(DOCTORS), required=True)
    ask.add_argument("--rows", type=Path, required=True, help="the file of rows; grows")
    ask.add_argument("--only", default="", help="a regular expression on the names")
    ask.add_argument("--threads", type=int, default=1)
    args = ask.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    lines = args.rows.read_text().splitlines() if args.rows.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["program"], row["twin"], row["doctor"]) for row in rows}
    with args.rows.open("a") as file:
        for program in programs(args.half, args.only):
            for twin in (False,) if program.healthy else (False, True):
                if (program.name, twin, args.doctor) not in done:
                    row = examined(program, twin, args.doctor)
                    print(json.dumps(row), file=file, flush=True)


if __name__ == "__main__":
    main()
