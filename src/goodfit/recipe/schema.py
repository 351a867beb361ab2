"""The JSON schema of recipes, made from the ingredients themselves, for editors."""

from typing import Any

from goodfit.ingredient import Ingredient, find, names
from goodfit.recipe.read import shipped
from goodfit.recipe.recipe import BASES, LISTS, Evaluate, Train


def schema() -> dict[str, Any]:
    """A schema under which every shipped recipe is valid and a typo is not."""
    sections: dict[str, Any] = {
        name: {"type": "string"} for name in ("about", "source", "expected")
    }
    sections["extends"] = {"type": "string", "examples": shipped()}
    definitions: dict[str, Any] = {}
    for section, base in BASES.items():
        kinds = [_kind(base, kind, definitions) for kind in names(base)]
        own = {
            "type": "object",
            "properties": {"kind": {"type": "string", "pattern": ":"}},
            "required": ["kind"],
        }
        one = {"anyOf": [*kinds, own]}
        sections[section] = {"type": "array", "items": one} if section in LISTS else one
    for name, settings in (("train", Train), ("evaluate", Evaluate)):
        sections[name] = _settings(settings, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "goodfit recipe",
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
        "$defs": definitions,
    }


def _kind(base: type[Ingredient], kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    found = _settings(find(base, kind), definitions)
    # a recipe that extends another may leave the kind out
    found["properties"] = {"kind": {"const": kind}} | found.get("properties", {})
    return found


def _settings(settings: type[Ingredient], definitions: dict[str, Any]) -> dict[str, Any]:
    made = settings.model_json_schema()
    definitions |= made.pop("$defs", {})
    page = made.pop("description", "") or settings.__doc__ or ""
    return made | {"description": page.strip().split("\n")[0], "required": []}
