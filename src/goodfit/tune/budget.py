"""How much a search may cost, and how that is divided among its steps.

    1-3  at most a tenth    4  until 30%    5-7  until 60%    finalists  the rest    final run

A budget in time is for everything, the final run included: it gets the epochs that the recipe
asks for where a third of the time allows them, and as many as fit where not. A budget in trials or
epochs counts the search; the final run comes on top. Finalists train as long as the final run, so
there are none where two of them do not fit.
"""

import re
from typing import NamedTuple

from goodfit.errors import RecipeError

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
CHECKS, COARSE, REFINED, FINAL = 0.1, 0.3, 0.6, 0.35  # shares of the time
ROUNDS = 3  # of refinement, at most
_FULL = 8  # whole trials that a round should have room for


class Budget(NamedTuple):
    """One of the three is given."""

    seconds: float | None = None
    trials: int | None = None
    epochs: float | None = None

    @property
    def words(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds / 60:.3g} minutes"
        if self.trials is not None:
            return f"{self.trials} trials"
        return f"{self.epochs:g} epochs"


def budget_of(time: str | None, trials: int | None, epochs: float | None) -> Budget:
    """The one that is given; 30 trials if none is. Raises RecipeError for two."""
    given = [x for x in (time, trials, epochs) if x is not None]
    if len(given) > 1:
        raise RecipeError(
            "a search has one budget", fix="give --budget, --trials or --epochs, only one of them"
        )
    if time is not None:
        return Budget(seconds=seconds_of(time))
    if epochs is not None:
        return Budget(epochs=epochs)
    return Budget(trials=30 if trials is None else trials)


def seconds_of(text: str) -> float:
    """2h, 90m, 1h30m, 45s as seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text.strip().lower())
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(map("".join, parts)) != text.strip().lower() or total <= 0:
        raise RecipeError(f"{text!r} is not a time", fix="write --budget 2h, 90m, 1h30m or 45s")
    return total


class Share(NamedTuple):
    """What one stage of the search may use."""

    epochs: float  # of a trial
    trials: int
    most_epochs: float = float("inf")  # of all its trials
    seconds: float = float("inf")


def coarse_share(
    budget: Budget, full: float, epoch_seconds: float, left: float, grid: int
) -> Share:
    """Step 4: short trials, at most the grid's. left: seconds until its share of time is over."""
    epochs = min(full, max(1.0, min(5.0, full / 10)))
    if budget.trials is not None:
        return Share(epochs, max(1, min(grid, budget.trials // 3)))
    if budget.epochs is not None:
        part = budget.epochs / 3
        return Share(min(epochs, part / 3), grid, part)
    fits = left / max(epoch_seconds, 1e-9)  # epochs that fit
    return Share(min(epochs, max(fits / 6, 0.05)), grid, seconds=left)


def refine_share(
    budget: Budget, full: float, epoch_seconds: float, left: float, used: float, turn: int
) -> Share:
    """One round of step 5. left: seconds until the finalists; used: trials or epochs so far."""
    part = 0.6 if turn + 1 < ROUNDS else 1.0  # what comes later finds some left
    epochs = min(full, max(1.0, min(20.0, full / 2)))
    if budget.trials is not None:
        more = round(budget.trials - reserved(budget, full) - used)
        return Share(epochs, round(more * part) if more > 4 else max(0, more))
    if budget.epochs is not None:
        rest = max(0.0, budget.epochs - reserved(budget, full) - used) * part
        return Share(min(epochs, max(rest / 3, 0.05)), 10_000, rest)
    fits = left * part / max(epoch_seconds, 1e-9)
    return Share(min(epochs, max(fits / _FULL, 0.05)), 10_000, seconds=left * part)


def reserved(budget: Budget, full: float) -> float:
    """The trials or epochs that are kept for finalists."""
    if budget.trials is not None:
        return float(budget.trials // 5) if budget.trials >= 10 else 0.0
    kept = (1 - REFINED) * (budget.epochs or 0.0)
    return kept if kept >= 2 * full else 0.0


def finalists_share(budget: Budget, final: float, epoch_seconds: float, left: float) -> Share:
    """Trials as long as the final run; `trials` is how many fit. left: seconds until that run."""
    if budget.trials is not None:
        return Share(final, round(reserved(budget, final)))
    if budget.epochs is not None:
        part = reserved(budget, final)
        return Share(final, int(part / final), part)
    fits = int(left / max(final * epoch_seconds, 1e-9))
    return Share(final, fits if fits >= 2 else 0, seconds=left)


def final_epochs(budget: Budget, full: float, epoch_seconds: float) -> float:
    """Epochs of the final run."""
    if budget.seconds is None:
        return full
    return min(full, max(FINAL * budget.seconds / max(epoch_seconds, 1e-9), 0.05))
