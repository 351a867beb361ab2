"""A study under way: what all its steps share. Each notes what it found in the study's book."""

import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
import torch

from goodfit.data import Splits
from goodfit.optim import Optim
from goodfit.recipe.recipe import Recipe
from goodfit.report.records import TuneCurve, TuneStep
from goodfit.run.build import Pieces, build
from goodfit.run.job import Job
from goodfit.run.pace import step_seconds
from goodfit.run.start import prepare
from goodfit.tune.book import Book
from goodfit.tune.budget import (
    REFINED,
    ROUNDS,
    Budget,
    final_epochs,
    reserved,
)
from goodfit.tune.space import Base, Dimension, Settings, Space
from goodfit.tune.stage import Done, Stage, opened
from goodfit.tune.study import queued, recovered, trials, work

_BATCHES = 5
_FAST = ("precision", "channels_last", "compile")


class Options(NamedTuple):
    """What a person decided about the search."""

    budget: Budget
    sampler: str = "tpe"
    pruner: str = "asha"
    storage: str = ""
    seed: int = 0
    device: str | None = None


class Walk:
    """A study under way. `splits` has no test split."""

    def __init__(
        self,
        base: Base,
        splits: Splits,
        folder: Path,
        options: Options,
        *,
        space: Space | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        assert splits.test is None, "the search must not see the test split"
        self.base, self.splits, self.folder, self.options = base, splits, folder, options
        self.space, self.say = space, say
        self.check: Callable[[], None] | None = None  # of helpers that run all trials
        self.book = Book(folder)
        self.began = time.time() - self.book.spent
        self.full = base.recipe().train.epochs

    def fast(self, resolved: Recipe | None = None) -> dict[str, Any]:
        """Precision and layout, measured once for all trials: [train] settings."""
        if resolved is None:
            resolved = self.built()[0].recipe if "fast" not in self.book.found["kept"] else None
        found = resolved.train.model_dump(include=set(_FAST)) if resolved is not None else {}
        return dict(self.book.keep("fast", found))

    def built(self, *, bare: bool = False, small_decay: bool = False) -> tuple[Job, Pieces]:
        with torch.random.fork_rng():
            recipe = self.base.recipe({}, **self.book.found["kept"].get("fast", {}))
            if bare:
                recipe = _without_regularization(recipe)
            if small_decay and isinstance(recipe.optimizer, Optim):
                recipe = recipe.replaced(optimizer=recipe.optimizer.replaced(weight_decay=1e-4))
            job = prepare(self.splits, recipe, device=self.options.device, dry=True)
            pieces = build(
                job.recipe, job.loader, self.splits.classes, job.loader.channels, job.world
            )
            self.fast(job.recipe)
        return job, pieces

    def some(self, job: Job) -> list[Any]:
        some = [batch for _, batch in zip(range(_BATCHES), job.loader, strict=False)]
        job.loader.at(0, 0)
        return some

    def stage(self, name: str, space: Space, share: Any, deadline: float) -> Stage:
        """A stage of the search; one that was begun before keeps what makes trials comparable."""
        options = self.options
        epochs, plain = self.book.keep(
            f"stage {name}", [float(f"{share.epochs:.4g}"), [list(d) for d in space]]
        )
        return Stage(
            name=f"{self.book.name}-{name}".replace(", ", "-").replace(" ", "-"),
            recipe=tomlkit.dumps(self.base.changed({}, **self.fast())),
            folder=str(self.base.folder or ""),
            runs=str(self.folder / "trials"),
            storage=options.storage or str(self.folder / "study.journal"),
            space=[Dimension(*row)._asdict() for row in plain],
            epochs=epochs,
            constant=False,
            target=share.trials,
            deadline=deadline if options.budget.seconds is not None else inf,
            most_epochs=share.most_epochs,
            sampler=options.sampler,
            pruner=options.pruner,
            seed=options.seed,
            device=options.device,
        )

    def searched(self, stage: Stage, first: list[Settings]) -> list[Done]:
        """Run a stage with whoever helps, and wait for the last of them."""
        queued(stage, first)
        stage.write(self.folder / "stage.json")
        study, again, works = opened(stage), 1, self.check is None
        while True:
            if self.check is not None:
                self.check()
            if works and again:
                work(stage, self.splits, say=self.say)
            again = recovered(study, stage)
            rows = trials(study)
            running = [t for t in rows if t.state == "running"]
            short = sum(t.state != "failed" for t in rows) < stage.target
            late = time.time() > stage.deadline
            if not running and not again and (works or late or not short):
                break
            if time.time() > stage.deadline + 60:
                break
            time.sleep(0.3)
        if works:
            work(stage, self.splits, say=self.say)  # what a helper's crash has queued at the end
        (self.folder / "stage.json").unlink(missing_ok=True)  # helpers have no more to do
        return trials(study)

    def best(self) -> tuple[Settings, float | None]:
        """The best settings of the search, and their validation accuracy."""
        last = self.book.value("finalists") or {}
        if last.get("best"):
            return last["best"], last["accuracy"]
        rounds = [self.book.value(in_round("refine", turn)) or {} for turn in range(ROUNDS)]
        found = [r for r in rounds if r.get("best")]
        if found:
            top = max(found, key=lambda r: r["accuracy"] or 0.0)
            return top["best"], top["accuracy"]
        return (self.book.value("coarse") or {}).get("best") or self._only_rate(), None

    def best_settings(self) -> Settings:
        return self.best()[0]

    def _only_rate(self) -> Settings:
        lr = (self.book.value("rate") or {}).get("lr")
        return {"optimizer.lr": f"{lr:.3g}"} if lr else {}

    def lr(self) -> float:
        own = getattr(self.base.recipe().optimizer, "lr", 0.1)
        return float((self.book.value("rate") or {}).get("lr") or own)

    def all_trials(self) -> list[tuple[str, Done]]:
        """(stage, trial) of the whole search, in order."""
        names = ["coarse", *(in_round("refine", turn) for turn in range(ROUNDS)), "finalists"]
        found: list[tuple[str, Done]] = []
        for name in names:
            if self.book.value(name) is not None:
                found += [(name, t) for t in trials(opened(self.stage(name, (), _NOTHING, inf)))]
        return found

    def used(self) -> float:
        rows = [t for _, t in self.all_trials()]
        if self.options.budget.trials is not None:
            return float(sum(t.state != "failed" for t in rows))
        return sum(t.epochs for t in rows)

    def has_more(self) -> bool:
        budget = self.options.budget
        if budget.seconds is not None:
            return self.refine_end() - time.time() > 0.05 * budget.seconds
        most = (budget.trials or budget.epochs or 0) - reserved(budget, self.full)
        return self.used() < 0.95 * most

    def epoch_seconds(self) -> float:
        known = (self.book.value("rate") or {}).get("epoch_seconds")
        known = known or self.book.found["kept"].get("epoch seconds")
        if known is None and self.options.budget.seconds is not None:
            job, pieces = self.built()
            seconds = step_seconds(job, pieces) * len(job.loader)
            known = self.book.keep("epoch seconds", seconds)
        return 1.2 * float(known or 0.0)  # with evaluation

    def final_epochs(self) -> float:
        """Epochs of the final run."""
        return final_epochs(self.options.budget, self.full, self.epoch_seconds())

    def refine_end(self) -> float:
        """When the last round of refinement ends, in seconds since 1970."""
        return min(self.deadline(REFINED), self.search_end())

    def search_end(self) -> float:
        if self.options.budget.seconds is None:
            return inf
        final = self.final_epochs() * self.epoch_seconds()
        return self.began + self.options.budget.seconds - final

    def deadline(self, share: float) -> float:
        seconds = self.options.budget.seconds
        return inf if seconds is None else self.began + share * seconds

    def allowed(self, share: float) -> float:
        seconds = self.options.budget.seconds
        return inf if seconds is None else share * seconds

    def note(self, name: str, found: str, onward: str, value: Any, *drawn: TuneCurve) -> None:
        step = TuneStep(
            number=0, name=name, found=found, onward=onward,
            curves=tuple(c for c in drawn if c.points),
        )  # fmt: skip
        self.book.add(step, value)
        self.say(f"{name}: {found} {onward}".rstrip())


class _Nothing(NamedTuple):
    epochs: float = 1.0
    trials: int = 0
    most_epochs: float = inf


_NOTHING = _Nothing()


def in_round(name: str, turn: int) -> str:
    return name if turn == 0 else f"{name}, round {turn + 1}"


def _without_regularization(recipe: Recipe) -> Recipe:
    """For learning by heart: no layers of chance, no penalties, no decay, one constant rate."""
    changes: dict[str, Any] = {"layers": (), "penalties": (), "augment": ()}
    if isinstance(recipe.optimizer, Optim):
        changes["optimizer"] = recipe.optimizer.replaced(weight_decay=0.0)
    if getattr(recipe.model, "dropout", 0):
        changes["model"] = recipe.model.replaced(dropout=0.0)  # type: ignore[union-attr]
    return recipe.replaced(**changes)


def curve(name: str, points: Any, x: str, *, log_x: bool = False, dots: bool = False) -> TuneCurve:
    kept = [(float(a), float(b)) for a, b in points if abs(b) < inf]
    thin = max(1, len(kept) // 400)
    return TuneCurve(name=name, points=tuple(kept[::thin]), x_label=x, log_x=log_x, dots=dots)
