"""Ingredients: frozen, typed settings that can be called. The name is the place.

`kind = "cutout"` on the shelf `augment` is the file `goodfit/augment/cutout.py`, and in it the
one class that is defined there and derives from the shelf's base. `kind = "haze.py:Haze"` or
`"package.module:Name"` is the user's own. There is no registry.
"""

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from goodfit.errors import RecipeError

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Ingredient(BaseModel):
    """Base of all ingredients: fields are its settings, `__call__` is what it does.

    Raises RecipeError, in four parts, when a setting is unknown, of the wrong type or out of
    range, whether it is built from a recipe or from Python.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True
    )
    noun: ClassVar[str] = "ingredient"  # how messages call this kind

    def __init__(self, **settings: Any) -> None:
        _refuse_truth_as_numbers(type(self), settings)
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise explained(error, type(self), kind_of(type(self))) from None

    @property
    def name(self) -> str:
        """The ingredient's kind as a recipe writes it; names its random draws."""
        return kind_of(type(self))

    def replaced(self, **settings: Any) -> Self:
        """A copy with some settings changed, checked like a new one."""
        return type(self)(
            **{name: getattr(self, name) for name in self.model_fields_set} | settings
        )


Base = TypeVar("Base", bound=Ingredient)


def kind_of(cls: type) -> str:
    """`random-crop` for goodfit.augment.random_crop.RandomCrop; `haze:Haze` for the user's own."""
    module = cls.__module__
    if module.startswith("goodfit."):
        return module.rpartition(".")[2].lstrip("_").replace("_", "-")
    return getattr(cls, "_kind", f"{module}:{cls.__qualname__}")


def _refuse_truth_as_numbers(cls: type[BaseModel], settings: dict[str, Any]) -> None:
    """`true` where a number is meant: pydantic would read it as 1."""
    for name, value in settings.items():
        field = cls.model_fields.get(name)
        if field is not None and _is_truth(value) and not _takes_truth(field.annotation):
            raise RecipeError(
                f"{kind_of(cls)} cannot have {name} = {value!r}",
                wanted="a value that is not true or false",
                fix=f"choose another value for `{name}`",
            )


def _is_truth(value: Any) -> bool:
    inner = value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(map(_is_truth, inner))


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any, object) or any(
        isinstance(part, bool) or _takes_truth(part) for part in get_args(annotation)
    )


def explained(error: ValidationError, cls: type[BaseModel], name: str) -> RecipeError:
    """pydantic's first complaint as one of ours."""
    first = error.errors()[0]
    own = (first.get("ctx") or {}).get("error")
    place = ".".join(str(part) for part in first["loc"])
    if isinstance(own, RecipeError):
        own.seen = ({"setting": place} if place else {}) | own.seen
        return own
    known = list(cls.model_fields)
    if first["type"] == "extra_forbidden":
        close = get_close_matches(place, known, n=1)
        return RecipeError(
            f"{name} has no setting `{place}`",
            known=", ".join(known) or "none",
            fix=f"write `{close[0]}`" if close else f"remove `{place}`",
        )
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return RecipeError(f"{name} needs the setting `{place}`", fix=f"write `{place} = ...`")
    if not place:
        return RecipeError(f"{name}: {said}", fix="change one of these settings")
    return RecipeError(
        f"{name} cannot have {place} = {first['input']!r}",
        wanted=said[:1].lower() + said[1:],
        fix=f"choose another value for `{place}`",
    )


def names(base: type[Ingredient]) -> list[str]:
    """All kinds on the shelf of `base`, sorted: its files without a leading underscore."""
    package = importlib.import_module(base.__module__.removesuffix("._base"))
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_") and _in_file(base, f"{package.__name__}.{module.name}")
    )


def find(base: type[Base], kind: str, folder: Path | None = None) -> type[Base]:
    """The class that a recipe means by `kind`.

    `kind` is a file of the shelf ("random-crop"), a module of the user's ("pkg.mod:Name") or a
    file of the user's ("haze.py:Haze", looked for in `folder`, then in the working directory).
    Raises RecipeError when there is no such thing.
    """
    if ":" in kind:
        return _own(kind, folder)
    shelf = base.__module__.removesuffix("._base")
    module = f"{shelf}.{kind.replace('-', '_')}"
    if kind.startswith("_") or not kind.replace("-", "_").isidentifier() or not _exists(module):
        close = get_close_matches(kind, names(base), n=1)
        raise RecipeError(
            f"no {base.noun} is called {kind!r}",
            known=", ".join(names(base)),
            fix=f"write {close[0]!r}" if close else "choose one of these, or `my_file.py:Name`",
        )
    found = _in_file(base, module)
    if found is None:
        raise RecipeError(
            f"{kind!r} is not a {base.noun} that a recipe can name",
            known=", ".join(names(base)),
            fix="choose one of these",
        )
    return found


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _in_file(base: type[Base], module: str) -> type[Base] | None:
    """The one public class defined in `module` that derives from `base`."""
    classes = [
        cls
        for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if cls.__module__ == module and issubclass(cls, base) and not cls.__name__.startswith("_")
    ]
    return classes[0] if classes else None


def _own(kind: str, folder: Path | None) -> type[Any]:
    place, _, attribute = kind.rpartition(":")
    try:
        module = (
            own_file(place, folder) if place.endswith(".py") else importlib.import_module(place)
        )
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(
            f"{place} cannot be imported",
            seen=f"{type(error).__name__}: {error}",
            fix=f"make `python -c 'import {place.removesuffix('.py')}'` work, then try again",
        ) from error
    found = getattr(module, attribute, None)
    if found is None:
        raise RecipeError(
            f"{place} has no {attribute}",
            known=", ".join(n for n in vars(module) if not n.startswith("_")),
            fix="correct the name after the colon",
        )
    if isinstance(found, type):
        found._kind = kind  # type: ignore[attr-defined]
    return found  # type: ignore[no-any-return]


def own_file(place: str, folder: Path | None) -> Any:
    """The user's file as a module, imported once per content and place."""
    tried = [root / place for root in (folder, Path.cwd()) if root is not None]
    path = next((p.resolve() for p in tried if p.is_file()), None)
    if path is None:
        raise RecipeError(
            f"there is no file {place}",
            tried=", ".join(str(p) for p in tried),
            fix="put it beside the recipe, or write its path from there",
        )
    digest = blake2b(str(path).encode() + path.read_bytes(), digest_size=6).hexdigest()
    name = f"{path.stem}_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def page(base: type[Ingredient] | str, kind: str = "") -> str:
    """The documentation page of an ingredient: the docstring of its module."""
    module = base if isinstance(base, str) else find(base, kind).__module__
    return inspect.getdoc(importlib.import_module(module)) or ""
