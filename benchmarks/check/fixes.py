"""Does a program learn once it is changed as the finding asks?

python -m benchmarks.check.fixes --rows benchmarks/results/check_fixes.jsonl

For each fault in changes.py: check the faulty program, take the fix text of a finding that names
the cause, see that the text asks for the change, apply it to the faulty program, train it, and
measure. Mended means that the measure reaches what a healthy program of its kind must reach.
One JSON line per program; lines that the file already has are not run again.
"""

import argparse
import json
import os
import re
from pathlib import Path

import torch
from benchmarks.check.changes import CHANGES
from benchmarks.check.goodfit_doctor import report
from benchmarks.check.program import Program, programs
from benchmarks.check.training import outcome

from goodfit.check import rule_names


def tried(program: Program, seed: int = 0) -> dict[str, object]:
    asks, change = CHANGES[program.name]
    known = program.causes & set(rule_names())
    found = report(program.pieces(seed), known).findings
    said = next((f for f in found if re.search(asks, f.fix, re.IGNORECASE)), None)
    before, _ = outcome(program.pieces(seed), program.measure)
    pieces = program.pieces(seed)
    change(pieces)
    after, accuracy = outcome(pieces, program.measure)
    row: dict[str, object] = {"program": program.name, "rule": said.rule if said else None}
    row |= {"where": said.where if said else None, "fix": said.fix if said else None}
    row |= {"fixes_seen": [f.fix for f in found] if not said else []}
    row |= {"measure": program.measure, "before": round(before, 3), "after": round(after, 3)}
    row |= {"accuracy": round(accuracy, 3), "least": program.least, "asked": said is not None}
    row |= {"mended": after >= program.least, "cores": os.cpu_count(), "torch": torch.__version__}
    return row


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--rows", type=Path, required=True, help="the file of rows; grows")
    ask.add_argument("--only", default="", help="a regular expression on the names")
    args = ask.parse_args()
    torch.set_flush_denormal(True)
    lines = args.rows.read_text().splitlines() if args.rows.exists() else []
    done = {json.loads(line)["program"] for line in lines}
    with args.rows.open("a") as file:
        for program in programs("development", args.only):
            if program.name in CHANGES and program.name not in done:
                print(json.dumps(tried(program)), file=file, flush=True)


if __name__ == "__main__":
    main()
