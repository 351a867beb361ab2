"""The user's own files in a recipe are copied into the run, so that the run stays whole."""

import re
from hashlib import blake2b
from pathlib import Path

from goodfit.ingredient import Ingredient
from goodfit.recipe.own import Own
from goodfit.recipe.read import built, table_of
from goodfit.recipe.recipe import LISTS, Recipe
from goodfit.run.directory import RunDirectory


def keep_own_code(recipe: Recipe, directory: RunDirectory) -> Recipe:
    """Copy every own file to `code/` and let the recipe name the copy, by its content's hash."""
    table = table_of(recipe)
    found = False
    for section, value in table.items():
        items = value if section in LISTS else [value]
        parts = getattr(recipe, section)
        for item, part in zip(items, parts if section in LISTS else [parts], strict=True):
            if isinstance(item, dict) and ".py:" in str(item.get("kind")):
                item["kind"] = _kept(item["kind"], part, directory)
                found = True
    return built(table, str(directory.path), directory.path) if found else recipe


def _kept(kind: str, part: Ingredient | Own, directory: RunDirectory) -> str:
    import sys

    target = part.target if isinstance(part, Own) else type(part)
    source = Path(str(sys.modules[target.__module__].__file__))
    content = source.read_bytes()
    digest = blake2b(content, digest_size=4).hexdigest()
    stem = re.sub(r"_[0-9a-f]{8}$", "", source.stem)
    place = directory.path / "code" / f"{stem}_{digest}.py"
    place.parent.mkdir(exist_ok=True)
    directory.write(f"code/{place.name}", content)
    return f"code/{place.name}:{kind.rpartition(':')[2]}"
