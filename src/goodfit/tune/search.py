"""Steps 4 to 7: a coarse grid, refinement, a look at the curves, and back, or the end."""

import time
from pathlib import Path
from typing import Any

import tomlkit

from goodfit.recipe.read import table_of
from goodfit.recipe.recipe import LISTS
from goodfit.tune import curves
from goodfit.tune.budget import (
    COARSE,
    ROUNDS,
    coarse_share,
    finalists_share,
    refine_share,
)
from goodfit.tune.space import Dimension, Settings, Space, default_space, grid, narrowed, said
from goodfit.tune.stage import Done
from goodfit.tune.study import best_of
from goodfit.tune.trial import curves_of
from goodfit.tune.walk import Walk, curve, in_round


def coarse(walk: Walk) -> None:
    lr = walk.lr()
    space = _coarse_space(walk, lr)
    cells = grid(space)
    deadline = walk.deadline(COARSE)
    share = coarse_share(
        walk.options.budget,
        walk.full,
        walk.epoch_seconds(),
        deadline - time.time(),
        len(cells),
    )
    stage = walk.stage("coarse", space, share, min(deadline, time.time() + share.seconds))
    rows = walk.searched(stage._replace(constant=True, pruner="none"), cells[: share.trials])
    best = best_of(rows)
    if best is None:
        words, onward = "No trial came to a result.", "Tuning goes on from the recipe's values."
    else:
        words = (
            f"{_counted(rows)} of {stage.epochs:.3g} epochs at constant rates around {lr:.3g}. "
            f"The best had {best.accuracy:.2%} on validation: {said(best.settings)}."
        )
        onward = "Refinement begins around it."
    walk.note("coarse", words, onward, _refined(best, rows))


def _coarse_space(walk: Walk, lr: float) -> Space:
    """Rate and decay alone; of a space that a person gave, what it has of them."""
    if walk.space is None:
        return default_space(walk.base, lr, 3.0)[:2]
    both = tuple(d for d in walk.space if d.field in ("optimizer.lr", "optimizer.weight_decay"))
    return narrowed(both, {"optimizer.lr": str(lr)}, 3.0) or walk.space


def refine(walk: Walk, turn: int, shift: curves.Sign | None = None) -> bool:
    """One round; whether any trial was run."""
    before = walk.best_settings()
    space = _refined_space(walk, before, turn, shift)
    longer = shift.epochs if shift else 1.0
    share = refine_share(
        walk.options.budget,
        walk.full * longer,
        walk.epoch_seconds(),
        walk.refine_end() - time.time(),
        walk.used(),
        turn,
    )
    if share.trials < 1 or share.seconds <= 0 or share.most_epochs <= 0:
        return False
    name = in_round("refine", turn)
    stage = walk.stage(name, space, share, time.time() + share.seconds)
    rows = walk.searched(stage, [before, _own(walk, space)])
    best = best_of(rows)
    words = f"{_counted(rows)} of at most {stage.epochs:.3g} epochs{_outcome(best)}"
    walk.note(name, words, "", _refined(best, rows))
    return bool(rows)


def finalists(walk: Walk) -> None:
    """The best settings of short trials, and some around them, trained as long as the final run.

    What is best after half the epochs need not be best after all of them.
    """
    share = finalists_share(
        walk.options.budget,
        walk.final_epochs(),
        walk.epoch_seconds(),
        walk.search_end() - time.time(),
    )
    if not share.trials:
        return
    space = _refined_space(walk, walk.best_settings(), 0, None)
    first = [t.settings for t in _ranked(walk) if all(_within(t.settings, d) for d in space)]
    stage = walk.stage("finalists", space, share, time.time() + share.seconds)
    if walk.options.budget.seconds is not None:
        stage = stage._replace(target=10_000)  # the time ends it
    if stage.pruner != "none":
        stage = stage._replace(pruner="median")  # all are good: a third of them is too few to keep
    rows = walk.searched(stage, first[: max(2, share.trials // 2)])
    best = best_of(rows)
    words = f"{_counted(rows)} of {stage.epochs:.3g} epochs, as many as the final run has"
    words += _outcome(best)
    walk.note("finalists", words, "", _refined(best, rows))


def _ranked(walk: Walk) -> list[Done]:
    """Finished trials of the refinement, the best first; of each setting one."""
    rows = [
        t for name, t in walk.all_trials()
        if name.startswith("refine") and t.state == "finished" and t.accuracy is not None
    ]  # fmt: skip
    found = {said(t.settings): t for t in sorted(rows, key=lambda t: t.accuracy or 0.0)}
    return sorted(found.values(), key=lambda t: -(t.accuracy or 0.0))


def _within(settings: Settings, dimension: Dimension) -> bool:
    text = settings.get(dimension.field)
    return text is not None and dimension.value(text) is not None


def look(walk: Walk, turn: int) -> list[curves.Sign]:
    """Step 6: the rules on the best trial of the round."""
    value = walk.book.value(in_round("refine", turn)) or walk.book.value("coarse") or {}
    place = value.get("place")
    if not place:
        walk.note(in_round("curves", turn), "There is no trial to look at.", "", {"signs": []})
        return []
    found = curves_of(Path(place), len(walk.splits.classes), len(walk.splits.val))
    signs = curves.look(found)
    words = "; ".join(f"{s.rule}: {s.words}" for s in signs) or "Nothing stands out"
    advice = "; ".join(f"{s.rule}: {s.advice}" for s in signs)
    drawn = (
        curve("training loss", enumerate(found.losses, 1), "update"),
        curve("validation accuracy", enumerate(found.accuracies, 1), "look"),
    )
    walk.note(in_round("curves", turn), f"{words}.", advice, {"signs": signs}, *drawn)
    return signs


def go_on(walk: Walk, turn: int, signs: list[curves.Sign], error: float) -> bool:
    """Step 7: back to refinement, or not; and why."""
    now = walk.book.value(in_round("refine", turn)) or {}
    last = walk.book.value(in_round("refine", turn - 1) if turn else "coarse") or {}
    gain = (now.get("accuracy") or 0.0) - (last.get("accuracy") or 0.0)
    calls = [s.rule for s in signs if s.lr != 1 or s.regularize != 1 or s.epochs != 1]
    if turn + 1 >= ROUNDS:
        go, why = False, f"{ROUNDS} rounds are enough"
    elif not walk.has_more():
        go, why = False, "the budget of the search is used"
    elif calls:
        go, why = True, f"{' and '.join(calls)} asks for a change"
    elif turn == 0 or gain > error:
        go, why = True, "the last round found something better, so there may be more"
    else:
        go, why = False, f"the last round gained {gain:+.2%}, no more than chance ({error:.2%})"
    words = f"{'Back to refinement' if go else 'The search ends'}: {why}."
    walk.note(in_round("onward", turn), words, "", {"go": go})
    return go


def _refined_space(walk: Walk, best: Settings, turn: int, shift: curves.Sign | None) -> Space:
    space = walk.space or default_space(walk.base, walk.lr())
    center = dict(best)
    for field, factor in (
        ("optimizer.lr", shift.lr if shift else 1.0),
        ("optimizer.weight_decay", shift.regularize if shift else 1.0),
    ):
        if field in center:
            center[field] = f"{float(center[field]) * factor:.3g}"
    if walk.space is None and float(center.get("optimizer.weight_decay", 0)) > 0:
        decay = float(center["optimizer.weight_decay"])
        space = tuple(
            d._replace(kind="log-uniform", low=decay / 10, high=decay * 10, choices=())
            if d.field == "optimizer.weight_decay"
            else d
            for d in space
        )
    return narrowed(space, center, 5.0 if turn == 0 else 2.5)


def _own(walk: Walk, space: Space) -> Settings:
    """The recipe's own values, so that the search cannot end below them."""
    table = table_of(walk.base.recipe())
    found = {d.field: _at(table, d.field) for d in space}
    return {f: tomlkit.item(v).as_string() for f, v in found.items() if v is not None}


def _refined(best: Done | None, rows: list[Done]) -> dict[str, Any]:
    about = {"trials": len(rows), "epochs": sum(t.epochs for t in rows)}
    if best is None:
        return about
    return about | {"best": best.settings, "accuracy": best.accuracy, "place": best.place}


def _outcome(best: Done | None) -> str:
    """The end of a sentence about a round of trials."""
    if best is None:
        return ". None came to a result."
    return f"; the best had {best.accuracy:.2%} on validation: {said(best.settings)}."


def _counted(rows: list[Done]) -> str:
    ended = sum(t.state == "pruned" for t in rows)
    failed = sum(t.state == "failed" for t in rows)
    words = f"{len(rows)} trials"
    extra = [f"{n} {what}" for n, what in ((ended, "ended early"), (failed, "crashed")) if n]
    return f"{words} ({', '.join(extra)})" if extra else words


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
