"""Every error and finding of goodfit in the same four parts: what, at, what was seen, fix.

RecipeError: no augmentation is called 'cutuot'
  at      augment[0] in recipe.toml
  known   cutout, flip, mixup
  fix     write 'cutout'
"""

from typing import Any, Self


def four_parts(head: str, at: str, seen: dict[str, object], fix: str) -> str:
    """Lay out one message: the head line, then `at`, what was seen, and `fix`, aligned."""
    rows = {"at": at} if at else {}
    rows |= {name: str(value) for name, value in seen.items()}
    rows["fix"] = fix
    width = max(7, *(len(name) + 1 for name in rows))
    return "\n".join([head, *(f"  {name:<{width}} {text}" for name, text in rows.items())])


class GoodfitError(Exception):
    """Something the user can mend. The command line prints it and exits with code 2.

    `problem` says in one sentence what is wrong, `fix` how to mend it; `at` is the place (file,
    field, layer) and every further keyword is a piece of evidence, printed under its own name.
    """

    def __init__(self, problem: str, *, fix: str, at: str = "", **seen: object) -> None:
        super().__init__(problem)
        self.problem, self.at, self.seen, self.fix = problem, at, seen, fix

    def located(self, at: str) -> Self:
        """The same error with its place, for callers who know the place better."""
        self.at = self.at or at
        return self

    def __reduce__(self) -> tuple[Any, ...]:  # so that it crosses from one process to another
        return _again, (type(self), self.problem, self.at, self.seen, self.fix)

    def __str__(self) -> str:
        return four_parts(f"{type(self).__name__}: {self.problem}", self.at, self.seen, self.fix)


def _again(
    kind: type[GoodfitError], problem: str, at: str, seen: dict[str, object], fix: str
) -> GoodfitError:
    """An error that another process raised."""
    error = kind.__new__(kind)
    GoodfitError.__init__(error, problem, fix=fix, at=at, **seen)
    return error


class RecipeError(GoodfitError):
    """A recipe, an ingredient or a setting is wrong."""


class DataError(GoodfitError):
    """A data set or an image cannot be used."""


class RunError(GoodfitError):
    """A run directory or a checkpoint is missing, foreign, damaged or cannot be written."""


class ModelError(GoodfitError):
    """A model, or a model together with an ingredient, cannot do what was asked."""


class TrainingError(GoodfitError):
    """Training cannot go on: the loss is not finite, the device is full."""


class MissingExtraError(GoodfitError):
    """An optional dependency is needed and not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the extra `{extra}`, which is not installed",
            fix=f"pip install 'goodfit[{extra}]'",
        )
