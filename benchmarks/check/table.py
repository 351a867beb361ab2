"""How often does each doctor name the cause and the place, and how often is it wrong to speak?

python -m benchmarks.check.table

Counts the rows that `score.py` wrote, errors and warnings only, and writes check_scores.json:

    cause    faults of which an alarm names an acceptable cause
    first    faults whose first alarm does
    place    faults with a known place where such an alarm names it
    healthy  healthy programs with any alarm;  twins: healthy twins with any alarm
    seconds  the median

Only programs that `verify.py` has found to hurt, or to learn, count; the others are named below
the table, with the number of those verified with one seed only. `blind` rows were made once,
before anyone had seen what the doctor says of these programs; for `known` ones its rules were
changed in between. The rivals were never changed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.check.program import HALVES, programs
from benchmarks.check.verify import read, verdict

RESULTS = Path(__file__).parent.parent / "results"
Row = dict[str, Any]
FILES = (
    ("known", "check_known.jsonl"),
    ("blind", "check_heldout.jsonl"),
    ("blind", "check_fresh.jsonl"),
    ("blind", "check_last.jsonl"),
    ("blind", "check_final.jsonl"),
    ("blind", "check_unseen.jsonl"),
    ("rival", "check_rivals.jsonl"),
)
COLUMNS = ("cause", "first", "place", "healthy", "twins")


def share(values: Iterable[bool]) -> dict[str, Any]:
    counted = list(values)
    n, hits = len(counted), sum(counted)
    return {"hits": hits, "of": n, "share": round(hits / n, 3) if n else None}


def counted(rows: list[Row]) -> Row:
    """The columns of one line of the table."""
    sick = [row for row in rows if not row["healthy"]]
    well = [row for row in rows if row["healthy"] and not row["twin"]]
    line: Row = {"cause": share(row["cause"] for row in sick)}
    line |= {"first": share(row["first"] for row in sick)}
    line |= {"place": share(row["place"] for row in sick if "place" in row)}
    line |= {"healthy": share(bool(row["alarms"]) for row in well)}
    line |= {"twins": share(bool(row["alarms"]) for row in rows if row["twin"])}
    line |= {"median_seconds": median(row["seconds"] for row in rows)}
    line |= {"slowest_seconds": max(row["seconds"] for row in rows)}
    line |= {"crashes": sum(bool(row["crash"]) for row in rows)}
    line |= {"missed": sorted(row["program"] for row in sick if not row["cause"])}
    line |= {
        "misplaced": sorted(r["program"] for r in sick if r["cause"] and not r.get("place", 1))
    }
    alarmed = (row for row in rows if row["healthy"] and row["alarms"])
    line |= {"false_alarms": {named(row): row["alarms"] for row in alarmed}}
    return line


def named(row: Row) -> str:
    return f"twin of {row['program']}" if row["twin"] else row["program"]


def verdicts() -> dict[str, str]:
    """What verification holds against each program that is in the sets; empty if nothing."""
    rows = read(RESULTS / "check_verified.jsonl")
    return {program.name: verdict(program, rows) for program in programs("all")}


def table(sound: set[str]) -> list[Row]:
    """One line per half, doctor and kind of rows, over the programs named in `sound`."""
    lines = []
    for kind, name in FILES:
        rows = [row for row in read(RESULTS / name) if row["program"] in sound]
        keys = {(row["half"], row["doctor"]) for row in rows}
        for half, doctor in keys:
            mine = [row for row in rows if (row["half"], row["doctor"]) == (half, doctor)]
            lines.append({"half": half, "doctor": doctor, "rows": kind} | counted(mine))
    return sorted(lines, key=lambda line: (HALVES.index(line["half"]), line["doctor"]))


def printed(lines: list[Row]) -> str:
    """The table as text, and the names of what goodfit missed."""
    text = [
        f"{'half':12}{'doctor':12}{'rows':7}" + "".join(f"{c:>14}" for c in COLUMNS) + " seconds"
    ]
    for line in lines:
        cells = []
        for name in COLUMNS:
            cell = line[name]
            portion = "-" if cell["share"] is None else f"{cell['share']:.0%}"
            cells.append(f"{cell['hits']}/{cell['of']} {portion:>4}")
        start = f"{line['half']:12}{line['doctor']:12}{line['rows']:7}"
        text.append(start + "".join(f"{c:>14}" for c in cells) + f"{line['median_seconds']:8.1f}")
    for line in lines:
        if line["doctor"] == "goodfit":
            text.append(f"\n{line['half']}, {line['rows']}")
            text += [f"  {what}: {', '.join(line[what])}" for what in ("missed", "misplaced")]
            for name, alarms in line["false_alarms"].items():
                text.append(f"  false alarm: {name}: " + "; ".join(f"{r} {w}" for r, w in alarms))
    return "\n".join(text)


def main() -> None:
    held = verdicts()
    sound = {name for name, problem in held.items() if problem in ("", "one seed")}
    lines = table(sound)
    print(printed(lines))
    for problem in sorted(set(held.values()) - {""}):
        names = [name for name, other in held.items() if other == problem]
        shown = "" if problem == "one seed" else ": " + ", ".join(names)
        print(f"\n{problem}: {len(names)} programs{shown}")
    (RESULTS / "check_scores.json").write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
