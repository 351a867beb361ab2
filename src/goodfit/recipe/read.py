"""Recipes from and to TOML, with one level of `extends` and `--set section.field=value`."""

import tomllib
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ValidationError

from goodfit.errors import RecipeError
from goodfit.ingredient import Ingredient, kind_of
from goodfit.recipe.own import Own
from goodfit.recipe.recipe import BASES, LISTS, Recipe

Table = dict[str, Any]


def shipped() -> list[str]:
    """Names of the recipes that come with goodfit."""
    return sorted(
        p.name.removesuffix(".toml")
        for p in files("goodfit.recipe.shipped").iterdir()
        if p.name.endswith(".toml")
    )


def read(name: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
    """The recipe in a TOML file, or a shipped one by its name, under `key=value` changes.

    Raises RecipeError with the file and the place in it.
    """
    table, where, folder = load(name)
    for change in changes:
        set_field(table, change)
    return built(table, where, folder)


def load(name: str | Path) -> tuple[Table, str, Path | None]:
    """The merged table of a recipe, its place for messages, and its folder for own files."""
    text, where, folder = _text(str(name))
    table = parsed(text, where)
    parent = table.pop("extends", None)
    if parent is None:
        return table, where, folder
    if not isinstance(parent, str):
        raise RecipeError(
            "`extends` names one recipe", at=where, fix='write extends = "photos-scratch"'
        )
    text, above, _ = _text(parent, folder)
    base = parsed(text, above)
    if "extends" in base:
        raise RecipeError(
            f"{parent} itself extends another recipe",
            at=where,
            fix="extend one level only: copy its settings",
        )
    for said in ("about", "source", "expected"):  # they speak of the parent alone
        base.pop(said, None)
    return _merged(base, table), where, folder


def built(table: Table, where: str = "the recipe", folder: Path | None = None) -> Recipe:
    """A Recipe from a merged table; every error says where in the recipe it is."""
    known = list(Recipe.model_fields)
    for section in table:
        if section not in known:
            close = get_close_matches(section, known, n=1)
            raise RecipeError(
                f"a recipe has no section `{section}`",
                at=where,
                known=", ".join(known),
                fix=f"write `{close[0]}`" if close else f"remove `{section}`",
            )
    try:
        return Recipe.model_validate(table, context={"folder": folder})
    except RecipeError as error:
        error.at = f"{error.at} in {where}" if error.at else where
        raise
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        raise RecipeError(
            f"`{place}` cannot be {first['input']!r}",
            at=where,
            wanted=first["msg"],
            fix=f"correct `{place}`",
        ) from None


def _text(name: str, folder: Path | None = None) -> tuple[str, str, Path | None]:
    if name in shipped():
        return (
            (files("goodfit.recipe.shipped") / f"{name}.toml").read_text("utf-8"),
            f"recipe {name}",
            None,
        )
    path = Path(name) if folder is None else folder / name
    if path.is_dir():
        path = path / "recipe.toml"
    try:
        return path.read_text("utf-8"), str(path), path.resolve().parent
    except (OSError, UnicodeDecodeError) as error:
        close = get_close_matches(name, shipped(), n=1)
        raise RecipeError(
            f"there is no recipe {name!r}",
            seen=getattr(error, "strerror", None) or error,
            shipped=", ".join(shipped()),
            fix=f"write {close[0]!r}"
            if close
            else "name a shipped recipe, or the path of a TOML file",
        ) from None


def parsed(text: str, where: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            "this is not TOML", at=where, seen=error, fix="correct that line; strings need quotes"
        ) from None


def _merged(base: Table, over: Table) -> Table:
    """`over` on `base`: tables merge by key unless the kind changes, everything else replaces."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            same = value.get("kind", old.get("kind")) == old.get("kind")
            result[key] = {**old, **value} if same else value
        else:
            result[key] = value
    return result


def set_field(table: Table, change: str) -> None:
    """Apply `section.field=value`; in a list, a number or a kind: augment.cutout.size=0.2."""
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise RecipeError(
            f"`--set {change}` is not of the form section.field=value",
            fix="write --set optimizer.lr=0.1",
        )
    at: Any = table.setdefault(parts[0], [] if parts[0] in LISTS else _default(parts[0]))
    rest = parts[1:]
    if isinstance(at, list):
        at, rest = _member(at, parts[0], rest[0], change), rest[1:]
    if not rest:
        raise RecipeError(
            f"`--set {change}` names no field", fix="write --set augment.cutout.size=0.2"
        )
    if rest == ["kind"] and at.get("kind") != text:
        at.clear()
    at[".".join(rest)] = _value(text)


def split_changes(section: str, changes: tuple[str, ...]) -> tuple[Table, tuple[str, ...]]:
    """The fields of one section that `key=value` changes set, and the other changes."""
    table: Table = {section: {}}
    mine = [change for change in changes if change.strip().startswith(f"{section}.")]
    for change in mine:
        set_field(table, change)
    return table[section], tuple(change for change in changes if change not in mine)


def _default(section: str) -> Table:
    """A section that the recipe leaves out, with the kind it has by default."""
    field = Recipe.model_fields.get(section)
    default = field.default if field else None
    return {"kind": kind_of(type(default))} if section in BASES and default is not None else {}


def _member(items: list[Table], section: str, which: str, change: str) -> Table:
    kinds = [str(item.get("kind")) for item in items]
    if which.isdigit() and int(which) < len(items):
        return items[int(which)]
    if which in kinds:
        return items[kinds.index(which)]
    raise RecipeError(
        f"`--set {change}`: {section} has no {which!r}",
        known=", ".join(kinds) or "nothing",
        fix="name one that the recipe has, or add it in a recipe file",
    )


def _value(text: str) -> Any:
    """A TOML value, or the bare words as a string."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def table_of(recipe: Recipe) -> Table:
    """The recipe as plain TOML data, every default spelled out. None is left out."""
    result: Table = {}
    for section in type(recipe).model_fields:
        value = getattr(recipe, section)
        if isinstance(value, tuple):
            result[section] = [_plain(item) for item in value]
        elif isinstance(value, Ingredient | Own):
            result[section] = _plain(value)
        elif value not in (None, ""):
            result[section] = value
    return {key: value for key, value in result.items() if value != []}


def _plain(item: Ingredient | Own) -> Table:
    if isinstance(item, Own):
        return {"kind": item.kind, **item.settings}
    kind = {} if item.noun == "ingredient" else {"kind": item.name}
    return kind | _without_none(item.model_dump(mode="json"))


def _without_none(table: Table) -> Table:
    return {key: value for key, value in table.items() if value is not None}


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that `read` turns into an equal one."""
    return tomlkit.dumps(table_of(recipe))


def differences(a: Recipe, b: Recipe) -> list[tuple[str, Any, Any]]:
    """(field, value in a, value in b) wherever two recipes differ; None for no such field."""
    left, right = _flat(table_of(a)), _flat(table_of(b))
    keys = dict.fromkeys([*left, *right])
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _flat(table: Table) -> Table:
    flat: Table = {}
    for key, value in table.items():
        if key in LISTS:
            for place, item in enumerate(value):
                name = f"{key}.{item.get('kind', place)}"
                flat |= {f"{name}.{k}": v for k, v in item.items()}
        elif isinstance(value, dict):
            flat |= {f"{key}.{k}": v for k, v in value.items()}
        else:
            flat[key] = value
    return flat
