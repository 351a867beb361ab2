"""The space of a search: fields of a recipe, each with a distribution.

    "optimizer.lr" = { log-uniform = [0.01, 1.0] }
    "optimizer.weight_decay" = { choice = [0, 1e-5, 1e-4] }
    "augment.cutout.size" = { uniform = [0.1, 0.5] }
    "train.batch_size" = { int = [32, 512], log = true }

Any field that `--set` reaches can be searched. A space is checked before the first trial: the
recipe is built with both ends of every range and with every choice.
"""

import copy
import tomllib
from collections.abc import Sequence
from itertools import product
from math import exp, log
from pathlib import Path
from typing import Any, Literal, NamedTuple

from goodfit.errors import RecipeError
from goodfit.optim import Optim
from goodfit.recipe.read import Table, built, load, parsed, set_field
from goodfit.recipe.recipe import Recipe

Settings = dict[str, str]  # field → value, as TOML
Kind = Literal["log-uniform", "uniform", "int", "choice"]
KINDS: tuple[Kind, ...] = ("log-uniform", "uniform", "int", "choice")
_DECAYS = (1e-4, 1e-5, 0.0)


class Base(NamedTuple):
    """The recipe that a search starts from, as it was written."""

    table: Table
    where: str
    folder: Path | None

    def recipe(self, settings: Settings | None = None, **train: Any) -> Recipe:
        """The recipe with these fields, and with these settings of [train]."""
        return built(self.changed(settings or {}, **train), self.where, self.folder)

    def changed(self, settings: Settings, **train: Any) -> Table:
        table = copy.deepcopy(self.table)
        for field, value in settings.items():
            set_field(table, f"{field}={value}")
        if train:
            table["train"] = {**table.get("train", {}), **train}
        return table


def base_of(name: str | Path, changes: tuple[str, ...] = ()) -> Base:
    """The recipe file `name`, or the shipped one, under `--set` changes."""
    table, where, folder = load(name)
    for change in changes:
        set_field(table, change)
    base = Base(table, where, folder)
    base.recipe()
    return base


class Dimension(NamedTuple):
    """One field and what it is drawn from."""

    field: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()  # as TOML
    log: bool = False  # of an int

    @property
    def logarithmic(self) -> bool:
        return self.log or self.kind == "log-uniform"

    def text(self, value: Any) -> str:
        """A drawn value as TOML."""
        if self.kind == "choice":
            return str(value)
        return str(round(value)) if self.kind == "int" else f"{float(value):.6g}"

    def value(self, text: str) -> Any:
        """What a sampler calls this value, or None if the dimension does not contain it."""
        if self.kind == "choice":
            return next((c for c in self.choices if _same(c, text)), None)
        try:
            number = float(text)
        except ValueError:
            return None
        if not self.low <= number <= self.high:
            return None
        return round(number) if self.kind == "int" else number

    def points(self, count: int) -> list[str]:
        """`count` evenly spread values, from low to high; of a choice all."""
        if self.kind == "choice":
            return list(self.choices)
        to, back = (log, exp) if self.logarithmic else (float, float)
        low, high = to(self.low), to(self.high)
        shares = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        made = [min(self.high, max(self.low, back(low + s * (high - low)))) for s in shares]
        return list(dict.fromkeys(map(self.text, made)))

    def narrowed(self, center: float, factor: float) -> "Dimension":
        """The part of a logarithmic range within `factor` of `center`; never an empty one."""
        if not self.logarithmic or center <= 0:
            return self
        middle = min(self.high, max(self.low, center))
        return self._replace(
            low=max(self.low, middle / factor), high=min(self.high, middle * factor)
        )


Space = tuple[Dimension, ...]


def _same(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return a == b


def read_space(path: str | Path, base: Base) -> Space:
    """The space in a TOML file, checked against the recipe. Raises RecipeError with the place."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            "the space cannot be read",
            at=str(path),
            seen=getattr(error, "strerror", None) or error,
            fix="correct the path; `--space` names a TOML file",
        ) from None
    fields = _flat(parsed(text, str(path)))
    if not fields:
        raise RecipeError(
            "this space is empty",
            at=str(path),
            fix='write a line such as "optimizer.lr" = { log-uniform = [0.01, 1.0] }',
        )
    return checked(tuple(_dimension(f, t, str(path)) for f, t in fields.items()), base, str(path))


def _flat(table: Any, above: str = "") -> dict[str, Any]:
    """Field → its table, whether its name is written with quotes or without."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        field = f"{above}.{key}" if above else key
        nested = isinstance(value, dict) and not set(value) & set(KINDS)
        if nested and any(isinstance(v, dict) for v in value.values()):
            flat |= _flat(value, field)
        else:
            flat[field] = value
    return flat


def _dimension(field: str, table: Any, where: str) -> Dimension:
    given = [k for k in KINDS if isinstance(table, dict) and k in table]
    if len(given) != 1 or set(table) - {given[0], "log"}:
        raise RecipeError(
            f"`{field}` has no distribution",
            at=where,
            seen=table,
            known=", ".join(KINDS),
            fix=f'write "{field}" = {{ uniform = [low, high] }}, or {{ choice = [...] }}',
        )
    kind = given[0]
    values = table[kind]
    if kind == "choice":
        return _choice(field, values, where)
    numbers = isinstance(values, list) and len(values) == 2 and all(map(_is_number, values))
    if not numbers or not values[0] < values[1]:
        raise _wrong(field, kind, values, where, "two numbers, the lower one first")
    log = bool(table.get("log", False))
    if (log or kind == "log-uniform") and values[0] <= 0:
        raise _wrong(field, kind, values, where, "numbers above 0, for their logarithms")
    if kind == "int" and any(v != int(v) for v in values):
        raise _wrong(field, kind, values, where, "whole numbers")
    return Dimension(field, kind, float(values[0]), float(values[1]), log=log)


def _choice(field: str, values: Any, where: str) -> Dimension:
    if not isinstance(values, list) or not values:
        raise _wrong(field, "choice", values, where, "a list of values")
    import tomlkit

    return Dimension(field, "choice", choices=tuple(tomlkit.item(v).as_string() for v in values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(field: str, kind: str, values: Any, where: str, wanted: str) -> RecipeError:
    return RecipeError(
        f"`{field}` cannot be {kind} over {values!r}",
        at=where,
        wanted=wanted,
        fix=f"correct `{field}`",
    )


def checked(space: Space, base: Base, where: str) -> Space:
    """The space, after building the recipe with both ends and all choices of each field."""
    for dimension in space:
        for value in dimension.points(2):
            try:
                base.recipe({dimension.field: value})
            except RecipeError as error:
                error.at = f"{dimension.field} = {value} in {where}"
                raise
    return space


def default_space(base: Base, lr: float, factor: float = 10.0) -> Space:
    """What is searched when nobody says: the rate around `lr`, the decay, and what there is."""
    recipe = base.recipe()
    made: list[Dimension] = []
    if isinstance(recipe.optimizer, Optim):
        own = recipe.optimizer.weight_decay
        decays = tuple(f"{d:g}" for d in dict.fromkeys([own, *_DECAYS]))
        made += [
            Dimension("optimizer.lr", "log-uniform", lr / factor, lr * factor),
            Dimension("optimizer.weight_decay", "choice", choices=decays),
        ]
    if hasattr(recipe.loss, "smoothing"):
        made.append(Dimension("loss.smoothing", "uniform", 0.0, 0.2))
    kinds = {item.name for item in recipe.augment}
    for kind, rest in _AUGMENT.items():
        if kind in kinds:
            made.append(rest._replace(field=f"augment.{kind}.{rest.field}"))
    if getattr(recipe.model, "dropout", 0):
        made.append(Dimension("model.dropout", "uniform", 0.0, 0.5))
    return tuple(made)


_AUGMENT = {
    "mixup": Dimension("alpha", "log-uniform", 0.05, 1.0),
    "cutmix": Dimension("alpha", "log-uniform", 0.05, 1.0),
    "cutout": Dimension("size", "uniform", 0.1, 0.5),
}


def narrowed(space: Space, best: Settings, factor: float) -> Space:
    """The space around the best settings so far, where distances are ratios."""
    return tuple(
        d.narrowed(float(best[d.field]), factor) if d.logarithmic and d.field in best else d
        for d in space
    )


def grid(space: Space, points: int = 3) -> list[Settings]:
    """All combinations of evenly spread values, those nearest the first dimension's middle first.

    So a grid that is cut short has still seen several values of every field.
    """
    axes = [_from_middle(d.points(points)) for d in space]
    places = sorted(product(*(range(len(axis)) for axis in axes)), key=lambda p: (sum(p), p[::-1]))
    return [
        {d.field: axis[i] for d, axis, i in zip(space, axes, place, strict=True)}
        for place in places
    ]


def _from_middle(values: Sequence[str]) -> list[str]:
    middle = (len(values) - 1) / 2
    return [v for _, v in sorted(enumerate(values), key=lambda item: abs(item[0] - middle))]


def to_plain(space: Space) -> list[dict[str, Any]]:
    """For JSON."""
    return [d._asdict() for d in space]


def from_plain(rows: list[dict[str, Any]]) -> Space:
    """From JSON."""
    return tuple(Dimension(**(row | {"choices": tuple(row["choices"])})) for row in rows)


def said(settings: Settings) -> str:
    """Settings in a line."""
    return ", ".join(f"{field} = {value}" for field, value in settings.items()) or "the defaults"


def parsed_value(text: str) -> Any:
    """The TOML value as Python has it."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
