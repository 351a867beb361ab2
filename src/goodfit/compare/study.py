"""A comparison from trials: paired seeds, stored outcomes, verdicts; it goes on where it stopped.

A trial is a recipe and a seed; its outcome is what was predicted for each image and what it cost.
Every trial is an ordinary run in the study's folder, named by a digest of what was trained, so a
finished one is never run twice, also when arms are added later. The base and all arms share
seeds, hence splits, orders and the draws of every ingredient that stays.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from goodfit.compare.arms import Arm
from goodfit.compare.statistics import Difference, difference, judge, spent
from goodfit.errors import DataError
from goodfit.metrics import Interval, wilson
from goodfit.recipe.read import to_toml
from goodfit.recipe.recipe import Recipe
from goodfit.report.records import Arm as ArmRecord
from goodfit.report.records import ComparisonReport
from goodfit.run.checkpoint import load_state
from goodfit.run.load import Run
from goodfit.run.start import resume, train

Array = NDArray[np.float64]


class Trial(NamedTuple):
    """One training to do: a recipe with its seed, on data, in a folder."""

    recipe: str  # as TOML, so that a trial can travel to another process
    data: str
    folder: Path
    device: str | None = None

    @property
    def place(self) -> Path:
        """Where its run lies."""
        digest = blake2b(f"{self.recipe}\n{self.data}".encode(), digest_size=6).hexdigest()
        return self.folder / digest


class Outcome(NamedTuple):
    """What a trial gave, image by image, and what it cost."""

    correct: Array  # (n,) 0 or 1
    nll: Array  # (n,)
    ece: float
    seconds: float
    memory: float  # peak bytes


def run_trial(trial: Trial) -> Path:
    """Train it, or finish it, unless it is done; gives the run's folder."""
    from goodfit.recipe.read import built, parsed

    place = trial.place
    if (place / "result.json").exists():
        return place
    if (place / "recipe.toml").exists():
        return resume(place, device=trial.device).path
    shutil.rmtree(place, ignore_errors=True)  # begun, but killed before it was a run
    recipe = built(parsed(trial.recipe, "the trial"), "the trial")
    return train(recipe, trial.data, name=place.name, runs=place.parent, device=trial.device).path


def outcome(place: Path, split: str) -> Outcome:
    """Read a finished trial."""
    run = Run(place)
    found = load_state(place / f"{split}.pt")
    p, labels = found["probabilities"].double(), found["labels"]
    own = p.gather(1, labels[:, None])[:, 0].clamp_min(1e-12)
    result = run.result
    metrics = result["validation"] if split == "val" else result["metrics"]
    return Outcome(
        (p.argmax(1) == labels).double().numpy(),
        (-own.log()).numpy(),
        float(metrics["calibration"]["ece"]["value"]),
        float(result["train_seconds"]),
        float(result.get("peak_bytes", 0)),
    )


class Study:
    """A base, its arms, and their outcomes so far."""

    def __init__(
        self,
        base: Arm,
        arms: list[Arm],
        data: str,
        folder: str | Path,
        *,
        split: str = "val",
        delta: float = 0.005,
        device: str | None = None,
    ) -> None:
        self.base, self.arms, self.data = base, arms, data
        self.folder, self.split, self.delta, self.device = Path(folder), split, delta, device
        self.found: dict[tuple[str, int], Outcome] = {}

    def trial(self, arm: Arm, seed: int) -> Trial:
        """The trial of an arm with a seed."""
        recipe: Recipe = arm.recipe.replaced(train=arm.recipe.train.replaced(seed=seed))
        return Trial(to_toml(recipe), self.data, self.folder, self.device)

    def run(
        self,
        seeds: int,
        *,
        until_decided: bool = False,
        runner: Callable[[Trial], Path] = run_trial,
        pool: Executor | None = None,
    ) -> Iterator[tuple[int, list[ArmRecord]]]:
        """Run seeds 0, 1, ... for all arms and yield the table after each one from the second on.

        until_decided: arms with a verdict get no further seeds, and each look spends its share
            of the error rate, so stopping early keeps it.
        """
        looks = max(1, seeds - 1)
        open_arms = list(self.arms)
        table: dict[str, ArmRecord] = {}
        for seed in range(seeds):
            self._trials(seed, [self.base, *open_arms], runner, pool)
            if seed == 0:
                continue
            level = spent(seed, looks) if until_decided else 0.05
            for record in self.judged(open_arms, alpha=level):
                table[record.name] = record
            if until_decided:
                open_arms = [arm for arm in open_arms if table[arm.name].verdict == "undecided"]
            yield seed + 1, [table[arm.name] for arm in self.arms]
            if not open_arms:
                return

    def _trials(
        self, seed: int, arms: list[Arm], runner: Callable[[Trial], Path], pool: Executor | None
    ) -> None:
        trials = [self.trial(arm, seed) for arm in arms]
        once = list({trial.place: trial for trial in trials}.values())  # arms may be the same
        ran = pool.map(runner, once) if pool else map(runner, once)
        places = dict(zip((trial.place for trial in once), ran, strict=True))
        for arm, trial in zip(arms, trials, strict=True):
            self.found[arm.name, seed] = outcome(places[trial.place], self.split)

    def seeds_of(self, arm: Arm) -> list[int]:
        """Seeds that an arm shares with the base."""
        return [
            s for (name, s) in self.found if name == arm.name and (self.base.name, s) in self.found
        ]

    def judged(self, arms: list[Arm], alpha: float = 0.05) -> list[ArmRecord]:
        """Differences and verdicts of these arms, adjusted for all arms of the study."""
        if not arms:
            return []
        both = [self._paired(arm) for arm in arms]
        accuracy = [difference(self._table(arm, "correct"), self.delta) for arm in arms]
        share = alpha * len(arms) / len(self.arms)  # Holm over those still open, at their share
        verdicts = judge(accuracy, self.delta, share)
        return [
            ArmRecord(
                name=arm.name,
                accuracy=_interval(verdict.difference),
                nll=_interval(difference(self._table(arm, "nll"), 1.0)),
                ece=_over_seeds([a.ece - b.ece for a, b in pair]),
                p=verdict.p_holm,
                verdict=verdict.verdict,
                seeds=len(pair),
                seeds_needed=verdict.seeds_needed,
                seconds=_ratio([(a.seconds, b.seconds) for a, b in pair]),
                memory=_ratio([(a.memory, b.memory) for a, b in pair]),
            )
            for arm, verdict, pair in zip(arms, verdicts, both, strict=True)
        ]

    def _paired(self, arm: Arm) -> list[tuple[Outcome, Outcome]]:
        return [
            (self.found[arm.name, s], self.found[self.base.name, s]) for s in self.seeds_of(arm)
        ]

    def _table(self, arm: Arm, field: str) -> Array:
        rows = [(getattr(a, field), getattr(b, field)) for a, b in self._paired(arm)]
        if any(len(a) != len(b) for a, b in rows):
            raise DataError(
                "the arms were tested on different images",
                at=arm.name,
                fix="compare arms on the same data; unreadable images must be the same",
            )
        return np.stack([a - b for a, b in rows])

    def report(self, records: list[ArmRecord], name: str) -> ComparisonReport:
        """Everything for the table and the page."""
        base = [self.found[key] for key in self.found if key[0] == self.base.name]
        hits = difference(np.stack([one.correct for one in base]), self.delta)
        images = wilson(round(hits.mean * hits.images), hits.images)  # never 0 wide, at 100% too
        return ComparisonReport(
            name=name,
            base=self.base.name,
            base_accuracy=Interval(
                value=hits.mean,
                low=max(0.0, min(hits.low, images.low)),
                high=min(1.0, max(hits.high, images.high)),
            ),
            delta=self.delta,
            images=len(base[0].correct),
            arms=tuple(records),
        )

    def save(self, report: ComparisonReport) -> None:
        """Write comparison.json and comparison.html into the study's folder."""
        from goodfit.report.html import comparison_html
        from goodfit.run.directory import replacing

        plain: dict[str, Any] = report.model_dump(mode="json") | {"split": self.split}
        for file, text in (
            ("comparison.json", json.dumps(plain, indent=2)),
            ("comparison.html", comparison_html(report)),
        ):
            with replacing(self.folder / file) as beside:
                beside.write_text(text, "utf-8")


def _interval(d: Difference) -> Interval:
    return Interval(value=d.mean, low=d.low, high=d.high)


def _over_seeds(values: list[float]) -> Interval:
    """Mean and Student's interval over seeds alone, for figures that have no value per image."""
    d = difference(np.repeat(np.array(values)[:, None], 2, axis=1), 1.0)
    return _interval(d)


def _ratio(pairs: list[tuple[float, float]]) -> float | None:
    ratios = [a / b for a, b in pairs if b]
    return float(np.median(ratios)) if ratios else None
