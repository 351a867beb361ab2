"""The arms of a comparison: a base recipe and what each arm changes in it."""

from typing import Any, NamedTuple

from goodfit.errors import RecipeError
from goodfit.ingredient import names
from goodfit.recipe.read import Table, built, read, set_field, table_of
from goodfit.recipe.recipe import BASES, LISTS, Recipe

_SWITCHES: dict[str, tuple[str, Any]] = {  # what can be left out though it is no list member
    "label-smoothing": ("loss.smoothing", 0.0),
    "weight-decay": ("optimizer.weight_decay", 0.0),
    "ema": ("train.ema", 0.0),
    "swa": ("train.swa", 0.0),
    "warmup": ("schedule.warmup", 0.0),
    "progressive-resizing": ("train.sizes", []),
    "clipping": ("train.clip_norm", None),
}


class Arm(NamedTuple):
    """A recipe with a name that says how it differs from the base."""

    name: str
    recipe: Recipe


def arms(
    base: Recipe,
    *,
    without: tuple[str, ...] = (),
    with_: tuple[str, ...] = (),
    changes: tuple[str, ...] = (),
    leave_one_out: bool = False,
) -> list[Arm]:
    """All arms against `base`. Raises RecipeError for a name that the base or goodfit has not."""
    table = table_of(base)
    wanted = list(dict.fromkeys([*without, *(present(table) if leave_one_out else ())]))
    made = [Arm(f"without {name}", _without(table, name)) for name in wanted]
    made += [Arm(f"with {name}", _with(table, name)) for name in with_]
    for change in changes:
        made += _changed(table, change)
    if not made:
        raise RecipeError(
            "there is nothing to compare with the recipe",
            fix="add --without, --with, --set, --leave-one-out, or more recipes",
        )
    return made


def present(table: Table) -> list[str]:
    """Everything in a recipe that can be left out."""
    found = [item["kind"] for section in LISTS for item in table.get(section, [])]
    return found + [
        name for name, (field, off) in _SWITCHES.items() if _get(table, field) not in (None, off)
    ]


def _get(table: Table, field: str) -> Any:
    section, _, name = field.partition(".")
    return table.get(section, {}).get(name)


def _copied(table: Table) -> Table:
    return {
        key: [dict(item) for item in value] if isinstance(value, list)
        else dict(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }  # fmt: skip


def _without(table: Table, name: str) -> Recipe:
    changed = _copied(table)
    if name in _SWITCHES and name in present(table):
        field, off = _SWITCHES[name]
        section, _, key = field.partition(".")
        if off is None:
            changed[section].pop(key)
        else:
            changed[section][key] = off
        return built(changed, f"without {name}")
    sections = [s for s in LISTS if any(item["kind"] == name for item in changed.get(s, []))]
    if not sections:
        raise RecipeError(
            f"the recipe has no {name!r} to leave out",
            known=", ".join(present(table)) or "nothing",
            fix="name one of these",
        )
    for section in sections:
        changed[section] = [item for item in changed[section] if item["kind"] != name]
    return built(changed, f"without {name}")


def _with(table: Table, name: str) -> Recipe:
    sections = [section for section in LISTS if name in names(BASES[section])]
    if not sections:
        known = sorted({n for section in LISTS for n in names(BASES[section])})
        raise RecipeError(
            f"nothing called {name!r} can be added", known=", ".join(known), fix="name one of these"
        )
    changed = _copied(table)
    changed.setdefault(sections[0], []).append({"kind": name})
    return built(changed, f"with {name}")


def _changed(table: Table, change: str) -> list[Arm]:
    """`optimizer.lr=0.1,0.2` gives two arms; values with brackets or quotes are taken whole."""
    key, equals, values = change.partition("=")
    whole = any(mark in values for mark in "[{\"'")
    made = []
    for value in [values] if whole else values.split(","):
        changed = _copied(table)
        set_field(changed, f"{key}{equals}{value}")
        made.append(Arm(f"{key}={value}", built(changed, f"{key}={value}")))
    return made


def from_files(first: str, others: list[str], changes: tuple[str, ...] = ()) -> list[Arm]:
    """Other recipes as arms, under the same changes."""
    return [Arm(name, read(name, changes)) for name in others if name != first]
