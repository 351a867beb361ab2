"""How often does each doctor name the cause and the place, and how often is it wrong to speak?

python -m benchmarks.check.score development --rows benchmarks/results/check_development.jsonl

Every program is shown to goodfit.check, to SageMaker Debugger's documented thresholds and to
torch-audit; each faulty one also as its healthy twin. One JSON line per program, twin and
doctor; rows that the file already has are not run again. The table counts errors and warnings:

    cause    faults of which an alarm names an acceptable cause
    first    faults whose first alarm does
    place    faults with a known place where such an alarm names it
    healthy  healthy programs with any alarm;  twins: healthy twins with any alarm
"""

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.check.alarm import Alarm
from benchmarks.check.program import Pieces, Program, is_right_place, programs

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
    return row | {"seconds": seconds, "crash": crash}


def share(values: Iterable[bool]) -> dict[str, Any]:
    counted = list(values)
    n, hits = len(counted), sum(counted)
    return {"hits": hits, "of": n, "share": round(hits / n, 3) if n else None}


def summary(rows: list[Row]) -> list[Row]:
    """One row per half and doctor."""
    table = []
    for half, doctor in sorted({(row["half"], row["doctor"]) for row in rows}):
        mine = [row for row in rows if (row["half"], row["doctor"]) == (half, doctor)]
        sick = [row for row in mine if not row["healthy"]]
        twins = [bool(row["alarms"]) for row in mine if row["twin"]]
        well = [bool(row["alarms"]) for row in mine if row["healthy"] and not row["twin"]]
        line: Row = {"half": half, "doctor": doctor}
        line |= {"cause": share(row["cause"] for row in sick)}
        line |= {"first": share(row["first"] for row in sick)}
        line |= {"place": share(row["place"] for row in sick if "place" in row)}
        line |= {"healthy": share(well), "twins": share(twins)}
        line |= {"median_seconds": median(row["seconds"] for row in mine)}
        line |= {"slowest_seconds": max(row["seconds"] for row in mine)}
        line |= {"crashes": sum(bool(row["crash"]) for row in mine)}
        table.append(line | {"cores": os.cpu_count(), "torch": torch.__version__})
    return table


def printed(table: list[Row]) -> str:
    """The table as text."""
    columns = ("cause", "first", "place", "healthy", "twins")
    lines = [f"{'half':12}{'doctor':13}" + "".join(f"{c:>15}" for c in columns) + "  seconds"]
    for row in table:
        cells = []
        for name in columns:
            cell = row[name]
            portion = "-" if cell["share"] is None else f"{cell['share']:.0%}"
            cells.append(f"{cell['hits']}/{cell['of']} {portion:>4}")
        text = "".join(f"{cell:>15}" for cell in cells)
        lines.append(f"{row['half']:12}{row['doctor']:13}{text}  {row['median_seconds']:.1f}")
    return "\n".join(lines)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("half", choices=["development", "heldout", "all"])
    ask.add_argument("--rows", type=Path, required=True, help="the file of rows; grows")
    ask.add_argument("--doctors", default=",".join(DOCTORS))
    ask.add_argument("--only", default="", help="a regular expression on the names")
    ask.add_argument("--no-twins", action="store_true", help="leave the healthy twins out")
    ask.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = ask.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    rows = (
        [json.loads(line) for line in args.rows.read_text().splitlines()]
        if (args.rows.exists())
        else []
    )
    done = {(row["program"], row["twin"], row["doctor"]) for row in rows}
    with args.rows.open("a") as file:
        for program in programs(args.half, args.only):
            for doctor in args.doctors.split(","):
                for twin in (False,) if program.healthy or args.no_twins else (False, True):
                    if (program.name, twin, doctor) in done:
                        continue
                    rows.append(examined(program, twin, doctor))
                    print(json.dumps(rows[-1]), file=file, flush=True)
    table = summary(rows)
    print(printed(table))
    args.rows.with_suffix(".json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
