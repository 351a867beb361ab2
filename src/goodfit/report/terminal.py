"""Results in the terminal: a summary, tables of classes, runs and arms.

Everything is text first: aligned columns without frames or colors, which files and pipes get as
they are. On a terminal the same lines are printed through rich with the head in bold.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from goodfit.metrics import ClassScore, Interval, Metrics
from goodfit.report.records import Arm, ComparisonReport, RunReport, RunRow
from goodfit.report.words import SPLITS, between, digits_of, duration, percent, plain

MOST_ROWS = 20


def columns(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows as aligned columns under their heads; `right` are the columns set flush right.

    Control characters, which file and class names may hold, are shown and not obeyed.
    """
    table = [[plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    flush = set(right)
    lines = (
        "  ".join(
            cell.rjust(width) if i in flush else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )
    return "\n".join(line.rstrip() for line in lines)


def metrics_text(m: Metrics, split: str = "") -> str:
    """Metrics as aligned lines, each figure with its interval, then the classes."""
    digits = digits_of(m)
    where = f" on {m.images:,} {SPLITS.get(split, split)} images".replace("  ", " ")
    rows = [("accuracy", between(m.accuracy, digits) + where)]
    rows += [("top-5", between(m.top5, digits))] if m.top5 else []
    rows.append(
        ("mean recall", f"{percent(m.balanced_accuracy, digits)}, macro F1 {m.macro_f1:.3f}")
    )
    for name, c in (("as trained", m.calibration), ("scaled", m.scaled)):
        if c is not None:
            said = ", ".join(f"{n} {_figure(i)}" for n, i in (("NLL", c.nll), ("Brier", c.brier)))
            rows.append((name, f"{said}, ECE {between(c.ece)}"))
    if m.temperature is not None:
        rows.append(("temperature", f"{m.temperature:.3f}, fitted on the validation split"))
    return "\n".join(f"{name:<12} {said}" for name, said in rows) + f"\n\n{class_text(m)}"


def _figure(i: Interval) -> str:
    return f"{i.value:.3f} ({i.low:.3f} to {i.high:.3f})"


def class_text(m: Metrics, most: int = MOST_ROWS) -> str:
    """The classes: all in their order, or of many those with the lowest recall."""
    rows: list[ClassScore] = list(m.per_class)
    left = len(rows) - most
    if left > 0:
        rows = sorted(rows, key=lambda c: c.recall.value if c.recall else 2.0)[:most]
    table = columns(
        ("class", "images", "recall", "precision", "F1"),
        (
            (
                c.name,
                str(c.images),
                between(c.recall) if c.recall else "-",
                between(c.precision) if c.precision else "-",
                "-" if c.f1 is None else f"{c.f1:.3f}",
            )
            for c in rows
        ),
        right=(1,),
    )
    return table + (f"\n{left:,} more classes, of higher recall" if left > 0 else "")


def summary_text(run: RunReport, path: str = "") -> str:
    """The end of a training run in a few lines, the accuracy first."""
    m = run.metrics
    digits = digits_of(m)
    images = f"{m.images:,} {SPLITS.get(run.split, run.split)} images"
    rows = [("accuracy", f"{between(m.accuracy, digits)} on {images}")]
    best = m.scaled or m.calibration
    rows.append(("ECE", between(best.ece) + (" after temperature scaling" if m.scaled else "")))
    rows += list(run.cost.items())
    if run.findings:
        kinds = [f.severity for f in run.findings if not f.because]
        counts = [f"{kinds.count(k)} {k}" for k in ("error", "warning", "advice") if k in kinds]
        rows.append(("findings", ", ".join(counts)))
    rows += [("report", path)] if path else []
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {plain(said)}" for name, said in rows)


def runs_text(rows: Iterable[RunRow]) -> str:
    """`goodfit runs`: finished ones first, best first; the others after them by name."""
    ordered = sorted(rows, key=lambda r: (-(r.accuracy.value if r.accuracy else -1), r.name))
    return columns(
        ("accuracy", "images", "time", "recipe", "run"),
        (
            (
                between(r.accuracy) if r.accuracy else r.state,
                f"{r.images:,} {SPLITS.get(r.split, r.split)}" if r.images else "",
                duration(r.seconds) if r.seconds is not None else "",
                r.recipe,
                r.name,
            )
            for r in ordered
        ),
        right=(2,),
    )


def comparison_text(c: ComparisonReport) -> str:
    """`goodfit compare`: the verdicts with what they rest on."""
    head = f"base {c.base}: {between(c.base_accuracy, 2)} on {c.images:,} images\n\n"
    return head + columns(
        (
            "arm",
            "verdict",
            f"accuracy, points ({c.level:.0%})",
            "p (Holm)",
            "seeds",
            "time",
            "memory",
        ),
        ((a.name, _verdict(a), _points(a.accuracy), *_rest(a)) for a in c.arms),
        right=(3, 4, 5, 6),
    )


def _verdict(arm: Arm) -> str:
    needed = arm.seeds_needed if arm.verdict == "undecided" else None
    return f"{arm.verdict} ({needed} seeds would decide)" if needed else arm.verdict


def _points(i: Interval) -> str:
    return f"{100 * i.value:+.2f} ({100 * i.low:+.2f} to {100 * i.high:+.2f})"


def _rest(arm: Arm) -> tuple[str, str, str, str]:
    p = "-" if arm.p is None else f"{arm.p:.3f}" if arm.p >= 0.001 else "<0.001"
    ratios = ["-" if r is None else f"x{r:.2f}" for r in (arm.seconds, arm.memory)]
    return p, str(arm.seeds), ratios[0], ratios[1]


def show(text: str, file: TextIO | None = None) -> None:
    """Print a text; on a terminal its first line is bold."""
    file = file or sys.stdout
    if not file.isatty():
        print(text, file=file)
        return
    from rich.console import Console
    from rich.text import Text

    head, _, rest = text.partition("\n")
    shown = Text(head, style="bold")
    shown.append(f"\n{rest}" if rest else "", style="not bold")
    Console(file=file, highlight=False, soft_wrap=True).print(shown)
