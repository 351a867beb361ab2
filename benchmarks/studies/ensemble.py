"""What do ensembles, snapshots and soups gain, in accuracy and calibration, and what do they cost?

Four runs of one recipe with other seeds, and one run of four cycles with the epochs of all four
together. Every row is one way to put them together, tested once on the same test images: its
accuracy, the gain over the member that is best on validation with its paired interval, how often
members disagree, calibration before temperature scaling, and cost.

python benchmarks/studies/ensemble.py --data digits --recipe digits --epochs 5 >> results.jsonl
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from goodfit.ensemble import ensemble
from goodfit.run.start import train

MEMBERS = 4
PLAIN = ("train.ema=0.0", "train.check=false", "schedule.warmup=0.0")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", default="digits")
    ask.add_argument("--recipe", default="digits")
    ask.add_argument("--epochs", type=float, default=5, help="of a member")
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        for seed in range(MEMBERS):
            changes = (*PLAIN, f"train.epochs={args.epochs}", f"train.seed={seed}")
            train(args.recipe, args.data, changes=changes, runs=runs, name=f"seed-{seed}")
        changes = (*PLAIN, f"train.epochs={args.epochs * MEMBERS}")
        changes += ("schedule.kind=cosine-restarts", f"schedule.cycles={MEMBERS}")
        train(args.recipe, args.data, changes=changes, runs=runs, name="cycles")
        seeds = [runs / f"seed-{seed}" for seed in range(MEMBERS)]
        cycles = [runs / "cycles"]
        for name, paths, members, how in (
            ("seeds", seeds, "last", "probabilities"),
            ("seeds, logits", seeds, "last", "logits"),
            ("seeds, uniform soup", seeds, "last", "uniform-soup"),
            ("snapshots", cycles, "snapshots", "probabilities"),
            ("snapshots, greedy soup", cycles, "snapshots", "greedy-soup"),
        ):
            _, report = ensemble(
                paths, members=(members,), how=how, name=f"all-{how}-{members}", folder=runs
            )
            print(json.dumps({"what": name} | _row(report)), flush=True)


def _row(report: Any) -> dict[str, Any]:
    """The figures of a report that belong into a table."""
    accuracy = report.metrics.accuracy
    return {
        "members": [round(m.accuracy.value, 4) for m in report.members],
        "kept": sum(m.kept for m in report.members),
        "accuracy": [round(x, 4) for x in (accuracy.value, accuracy.low, accuracy.high)],
        "gain": [round(x, 4) for x in (report.gain.value, report.gain.low, report.gain.high)],
        "disagreement": round(report.diversity.disagreement, 4),
        "nll": round(report.metrics.calibration.nll.value, 4),
        "members_nll": [round(m.nll, 4) for m in report.members],
        "ece": round(report.metrics.calibration.ece.value, 4),
        "times_one_net": round(
            report.seconds_per_image / min(m.seconds_per_image for m in report.members), 2
        ),
        "train_seconds": report.train_seconds,
        "images": report.metrics.images,
    }


if __name__ == "__main__":
    main()
