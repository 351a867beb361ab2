"""The seven steps. Each finds something, says it in words, and notes it in the study's book."""

import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
import torch

from goodfit.data import Splits
from goodfit.optim import Optim
from goodfit.recipe.read import table_of
from goodfit.recipe.recipe import LISTS, Recipe
from goodfit.report.records import TuneCurve, TuneStep
from goodfit.run.build import Pieces, build
from goodfit.run.start import prepare, step_seconds
from goodfit.run.train import Job, changes_of
from goodfit.tune import curves
from goodfit.tune.book import Book
from goodfit.tune.budget import (
    CHECKS,
    COARSE,
    ROUNDS,
    Budget,
    coarse_share,
    final_epochs,
    refine_share,
)
from goodfit.tune.first import initial_loss, overfitted
from goodfit.tune.rate import Rates, search_lr
from goodfit.tune.space import Base, Settings, Space, default_space, grid, narrowed, said
from goodfit.tune.stage import Done, Stage, opened
from goodfit.tune.study import best_of, queued, recovered, trials, work
from goodfit.tune.trial import curves_of

_BATCHES = 5


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
        works: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        assert splits.test is None, "the search must not see the test split"
        self.base, self.splits, self.folder, self.options = base, splits, folder, options
        self.space, self.works, self.say = space, works, say
        self.book = Book(folder)
        self.began = time.time() - self.book.spent
        self.full = base.recipe().train.epochs

    # ---- steps 1 to 3: on copies, before any trial

    def initial_loss(self) -> None:
        job, pieces = self._built()
        some = self._some(job)
        found = initial_loss(pieces.model, some)
        self._note("initial loss", found.words, found.onward, {"loss": found.loss})

    def overfit(self) -> None:
        job, pieces = self._built(bare=True)
        found = overfitted(
            pieces.model,
            pieces.optimizer,
            self._some(job),
            loss=pieces.loss,
            seconds=self._allowed(CHECKS * 0.3),
            precision=pieces.precision,
        )
        curve = _curve("loss of a few batches", enumerate(found.losses, 1), "update")
        self._note("overfit", found.words, found.onward, {"accuracy": found.accuracy}, curve)

    def rate(self) -> None:
        own = self.base.recipe().optimizer
        if not isinstance(own, Optim):
            said = "This optimizer is the user's own, so its learning rate is left as it is."
            self._note("rate", said, "Tuning goes on with the rest.", {"lr": None})
            return
        job, pieces = self._built(small_decay=True)
        recipe = job.recipe
        found = search_lr(
            pieces.model,
            pieces.optimizer,
            job.loader,
            loss=pieces.loss,
            seconds=self._allowed(CHECKS * 0.7),
            augment=changes_of(job),
            penalties=recipe.penalties,
            clip_norm=recipe.train.clip_norm or inf,
            precision=pieces.precision,
            seed=recipe.train.seed,
        )
        scale = own.lr / pieces.optimizer.param_groups[0]["lr"]  # as the recipe states it
        lr = own.lr if found.lr is None else float(f"{found.lr * scale:.3g}")
        epoch = found.seconds_per_step * len(job.loader)
        words, onward = _rate_words(found, scale, lr)
        dots = [(row.lr * scale, min(row.end, 2 * found.start)) for row in found.tried]
        curve = _curve("loss after a few updates", dots, "learning rate", log_x=True, dots=True)
        self._note("rate", words, onward, {"lr": lr, "epoch_seconds": epoch}, curve)

    # ---- step 4

    def coarse(self) -> None:
        lr = self._lr()
        space = self._coarse_space(lr)
        cells = grid(space)
        deadline = self._deadline(COARSE)
        share = coarse_share(
            self.options.budget,
            self.full,
            self._epoch_seconds(),
            deadline - time.time(),
            len(cells),
        )
        stage = self._stage("coarse", space, share, min(deadline, time.time() + share.seconds))
        rows = self._searched(stage._replace(constant=True, pruner="none"), cells[: share.trials])
        best = best_of(rows)
        if best is None:
            words, onward = "No trial came to a result.", "Tuning goes on from the recipe's values."
        else:
            words = (
                f"{_counted(rows)} of {share.epochs:.3g} epochs at constant rates around {lr:.3g}. "
                f"The best had {best.accuracy:.2%} on validation: {said(best.settings)}."
            )
            onward = "Refinement begins around it."
        self._note("coarse", words, onward, self._refined(best, rows))

    def _coarse_space(self, lr: float) -> Space:
        """Rate and decay alone; of a space that a person gave, what it has of them."""
        if self.space is None:
            return default_space(self.base, lr, 3.0)[:2]
        both = tuple(d for d in self.space if d.field in ("optimizer.lr", "optimizer.weight_decay"))
        return narrowed(both, {"optimizer.lr": str(lr)}, 3.0) or self.space

    # ---- steps 5 to 7

    def refine(self, turn: int, shift: curves.Sign | None = None) -> bool:
        """One round; whether any trial was run."""
        before = self._best_settings()
        space = self._refined_space(before, turn, shift)
        longer = shift.epochs if shift else 1.0
        share = refine_share(
            self.options.budget,
            self.full * longer,
            self._epoch_seconds(),
            self._search_end() - time.time(),
            self._used(),
            turn,
        )
        if share.trials < 1 or share.seconds <= 0 or share.most_epochs <= 0:
            return False
        name = _round("refine", turn)
        stage = self._stage(name, space, share, time.time() + share.seconds)
        rows = self._searched(stage, [before, self._own(space)])
        best = best_of(rows)
        words = f"{_counted(rows)} of at most {share.epochs:.3g} epochs"
        words += (
            f"; the best had {best.accuracy:.2%} on validation: {said(best.settings)}."
            if best else ". None came to a result."
        )  # fmt: skip
        self._note(name, words, "", self._refined(best, rows))
        return bool(rows)

    def look(self, turn: int) -> list[curves.Sign]:
        """Step 6: the rules on the best trial of the round."""
        value = self.book.value(_round("refine", turn)) or self.book.value("coarse") or {}
        place = value.get("place")
        if not place:
            self._note(_round("curves", turn), "There is no trial to look at.", "", {"signs": []})
            return []
        found = curves_of(Path(place), len(self.splits.classes), len(self.splits.val))
        signs = curves.look(found)
        words = "; ".join(f"{s.rule}: {s.words}" for s in signs) or "Nothing stands out"
        advice = "; ".join(f"{s.rule}: {s.advice}" for s in signs)
        drawn = (
            _curve("training loss", enumerate(found.losses, 1), "update"),
            _curve("validation accuracy", enumerate(found.accuracies, 1), "look"),
        )
        self._note(_round("curves", turn), f"{words}.", advice, {"signs": signs}, *drawn)
        return signs

    def go_on(self, turn: int, signs: list[curves.Sign], error: float) -> bool:
        """Step 7: back to refinement, or not; and why."""
        now = self.book.value(_round("refine", turn)) or {}
        last = self.book.value(_round("refine", turn - 1) if turn else "coarse") or {}
        gain = (now.get("accuracy") or 0.0) - (last.get("accuracy") or 0.0)
        calls = [s.rule for s in signs if s.lr != 1 or s.regularize != 1 or s.epochs != 1]
        if turn + 1 >= ROUNDS:
            go, why = False, f"{ROUNDS} rounds are enough"
        elif not self._has_more():
            go, why = False, "the budget of the search is used"
        elif calls:
            go, why = True, f"{' and '.join(calls)} asks for a change"
        elif turn == 0 or gain > error:
            go, why = True, "the last round found something better, so there may be more"
        else:
            go, why = False, f"the last round gained {gain:+.2%}, no more than chance ({error:.2%})"
        words = f"{'Back to refinement' if go else 'The search ends'}: {why}."
        self._note(_round("onward", turn), words, "", {"go": go})
        return go

    # ---- what the steps share

    def _built(self, *, bare: bool = False, small_decay: bool = False) -> tuple[Job, Pieces]:
        with torch.random.fork_rng():
            recipe = self.base.recipe()
            if bare:
                recipe = _without_regularization(recipe)
            if small_decay and isinstance(recipe.optimizer, Optim):
                recipe = recipe.replaced(optimizer=recipe.optimizer.replaced(weight_decay=1e-4))
            job = prepare(self.splits, recipe, device=self.options.device, dry=True)
            pieces = build(
                job.recipe, job.loader, self.splits.classes, job.loader.channels, job.world
            )
        return job, pieces

    def _some(self, job: Job) -> list[Any]:
        some = [batch for _, batch in zip(range(_BATCHES), job.loader, strict=False)]
        job.loader.at(0, 0)
        return some

    def _stage(self, name: str, space: Space, share: Any, deadline: float) -> Stage:
        options = self.options
        return Stage(
            name=name.replace(" ", "-"),
            recipe=tomlkit.dumps(self.base.table),
            folder=str(self.base.folder or ""),
            runs=str(self.folder / "trials"),
            storage=options.storage or str(self.folder / "study.journal"),
            space=[d._asdict() for d in space],
            epochs=float(f"{share.epochs:.4g}"),
            constant=False,
            target=share.trials,
            deadline=deadline if options.budget.seconds is not None else inf,
            most_epochs=share.most_epochs,
            sampler=options.sampler,
            pruner=options.pruner,
            seed=options.seed,
            device=options.device,
        )

    def _searched(self, stage: Stage, first: list[Settings]) -> list[Done]:
        """Run a stage with whoever helps, and wait for the last of them."""
        queued(stage, first)
        stage.write(self.folder / "stage.json")
        study = opened(stage)
        while True:
            if self.works:
                work(stage, self.splits, say=self.say)
            again = recovered(study, stage)
            rows = trials(study)
            running = [t for t in rows if t.state == "running"]
            short = sum(t.state != "failed" for t in rows) < stage.target
            if not running and not again and (self.works or not short):
                return rows
            if time.time() > stage.deadline + 60:
                return rows
            time.sleep(0.3)

    def _refined_space(self, best: Settings, turn: int, shift: curves.Sign | None) -> Space:
        space = self.space or default_space(self.base, self._lr())
        center = dict(best)
        for field, factor in (
            ("optimizer.lr", shift.lr if shift else 1.0),
            ("optimizer.weight_decay", shift.regularize if shift else 1.0),
        ):
            if field in center:
                center[field] = f"{float(center[field]) * factor:.3g}"
        if self.space is None and float(center.get("optimizer.weight_decay", 0)) > 0:
            decay = float(center["optimizer.weight_decay"])
            space = tuple(
                d._replace(kind="log-uniform", low=decay / 10, high=decay * 10, choices=())
                if d.field == "optimizer.weight_decay"
                else d
                for d in space
            )
        return narrowed(space, center, 5.0 if turn == 0 else 2.5)

    def _own(self, space: Space) -> Settings:
        """The recipe's own values, so that the search cannot end below them."""
        table = table_of(self.base.recipe())
        found = {d.field: _at(table, d.field) for d in space}
        return {f: tomlkit.item(v).as_string() for f, v in found.items() if v is not None}

    def _refined(self, best: Done | None, rows: list[Done]) -> dict[str, Any]:
        about = {"trials": len(rows), "epochs": sum(t.epochs for t in rows)}
        if best is None:
            return about
        return about | {"best": best.settings, "accuracy": best.accuracy, "place": best.place}

    def best(self) -> tuple[Settings, float | None]:
        """The best settings of the search, and their validation accuracy."""
        rounds = [self.book.value(_round("refine", turn)) or {} for turn in range(ROUNDS)]
        found = [r for r in rounds if r.get("best")]
        if found:
            top = max(found, key=lambda r: r["accuracy"] or 0.0)
            return top["best"], top["accuracy"]
        return (self.book.value("coarse") or {}).get("best") or self._only_rate(), None

    def _best_settings(self) -> Settings:
        return self.best()[0]

    def _only_rate(self) -> Settings:
        lr = (self.book.value("rate") or {}).get("lr")
        return {"optimizer.lr": f"{lr:.3g}"} if lr else {}

    def _lr(self) -> float:
        own = getattr(self.base.recipe().optimizer, "lr", 0.1)
        return float((self.book.value("rate") or {}).get("lr") or own)

    def all_trials(self) -> list[tuple[str, Done]]:
        """(stage, trial) of the whole search, in order."""
        names = ["coarse", *(_round("refine", turn) for turn in range(ROUNDS))]
        found: list[tuple[str, Done]] = []
        for name in names:
            if self.book.value(name) is not None:
                stage = self._stage(name, (), _NOTHING, inf)
                found += [(name, t) for t in trials(opened(stage))]
        return found

    def _used(self) -> float:
        rows = [t for _, t in self.all_trials()]
        if self.options.budget.trials is not None:
            return float(sum(t.state != "failed" for t in rows))
        return sum(t.epochs for t in rows)

    def _has_more(self) -> bool:
        budget = self.options.budget
        if budget.seconds is not None:
            return self._search_end() - time.time() > 0.05 * budget.seconds
        return self._used() < 0.95 * (budget.trials or budget.epochs or 0)

    def _epoch_seconds(self) -> float:
        known = (self.book.value("rate") or {}).get("epoch_seconds")
        if known is None and self.options.budget.seconds is not None:
            job, pieces = self._built()
            known = step_seconds(job, pieces) * len(job.loader)
        return 1.2 * float(known or 0.0)  # with evaluation

    def final_epochs(self) -> float:
        """Epochs of the final run."""
        return final_epochs(self.options.budget, self.full, self._epoch_seconds())

    def _search_end(self) -> float:
        if self.options.budget.seconds is None:
            return inf
        final = self.final_epochs() * self._epoch_seconds()
        return self.began + self.options.budget.seconds - final

    def _deadline(self, share: float) -> float:
        seconds = self.options.budget.seconds
        return inf if seconds is None else self.began + share * seconds

    def _allowed(self, share: float) -> float:
        seconds = self.options.budget.seconds
        return inf if seconds is None else share * seconds

    def _note(self, name: str, found: str, onward: str, value: Any, *drawn: TuneCurve) -> None:
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


def _round(name: str, turn: int) -> str:
    return name if turn == 0 else f"{name}, round {turn + 1}"


def _counted(rows: list[Done]) -> str:
    ended = sum(t.state == "pruned" for t in rows)
    failed = sum(t.state == "failed" for t in rows)
    words = f"{len(rows)} trials"
    extra = [f"{n} {what}" for n, what in ((ended, "ended early"), (failed, "crashed")) if n]
    return f"{words} ({', '.join(extra)})" if extra else words


def _rate_words(found: Rates, scale: float, lr: float) -> tuple[str, str]:
    tried = ", ".join(
        f"{row.lr * scale:.3g}: {row.end:.3g}" if row.end < inf else f"{row.lr * scale:.3g}: broke"
        for row in found.tried
    )
    words = f"The loss began at {found.start:.3g} and went, by learning rate, to: {tried}."
    if found.lr is None:
        return words, f"None lowers it, so the search begins at the recipe's own {lr:.3g}."
    return words, f"The search begins around {lr:.3g}, the largest of those that lower it most."


def _without_regularization(recipe: Recipe) -> Recipe:
    """For learning by heart: no layers of chance, no penalties, no decay, one constant rate."""
    changes: dict[str, Any] = {"layers": (), "penalties": (), "augment": ()}
    if isinstance(recipe.optimizer, Optim):
        changes["optimizer"] = recipe.optimizer.replaced(weight_decay=0.0)
    if getattr(recipe.model, "dropout", 0):
        changes["model"] = recipe.model.replaced(dropout=0.0)  # type: ignore[union-attr]
    return recipe.replaced(**changes)


def _at(table: dict[str, Any], field: str) -> Any:
    """The value of a field such as augment.mixup.alpha in a recipe's table."""
    section, *rest = field.split(".")
    at: Any = table.get(section)
    if section in LISTS and rest:
        items, which = at or [], rest.pop(0)
        named = {str(n): item for n, item in enumerate(items)}
        named |= {item["kind"]: item for item in reversed(items)}
        at = named.get(which)
    return at.get(".".join(rest)) if isinstance(at, dict) else None


def _curve(name: str, points: Any, x: str, *, log_x: bool = False, dots: bool = False) -> TuneCurve:
    kept = [(float(a), float(b)) for a, b in points if abs(b) < inf]
    thin = max(1, len(kept) // 400)
    return TuneCurve(name=name, points=tuple(kept[::thin]), x_label=x, log_x=log_x, dots=dots)
