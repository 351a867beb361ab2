"""What every file on the small shelves keeps: its page, its defaults, its refusals.

A new file is under test the moment it exists.
"""

import doctest
import importlib
import inspect
import json
from math import inf, nan

import pytest

from goodfit.errors import RecipeError
from goodfit.ingredient import Ingredient, find, names, page
from goodfit.init import Init
from goodfit.losses import Loss
from goodfit.optim import Optim
from goodfit.penalties import Penalty
from goodfit.preprocess import Preprocess
from goodfit.schedules import Schedule

SHELVES = [Init, Loss, Optim, Penalty, Preprocess, Schedule]
KINDS = [(base, kind) for base in SHELVES for kind in names(base)]
PAGES = [
    "goodfit.losses.interpolate",
    "goodfit.optim.averages",
]


def named(value: object) -> str:
    return value.__name__.lower() if isinstance(value, type) else str(value)


@pytest.fixture(params=KINDS, ids=lambda pair: f"{pair[0].__name__.lower()}-{pair[1]}")
def made(request) -> type[Ingredient]:
    return find(*request.param)


@pytest.mark.parametrize("base", SHELVES, ids=named)
def test_no_shelf_is_empty(base):
    assert len(names(base)) >= 3


def test_it_has_defaults_and_is_called_what_its_file_is_called(made):
    kind = made().name
    assert made.__module__.endswith("." + kind.replace("-", "_"))


def test_it_goes_through_plain_data_and_back(made):
    settings = made()
    assert made(**settings.model_dump()) == settings
    assert made(**json.loads(settings.model_dump_json())) == settings


def test_no_number_of_it_is_true(made):
    for name, field in made.model_fields.items():
        if any(word in str(field.annotation) for word in ("bool", "True", "False", "Any")):
            continue
        with pytest.raises(RecipeError, match=rf"{name} = True"):
            made(**{name: True})


def test_its_page_says_what_where_from_and_where_taught(made):
    text = inspect.getdoc(importlib.import_module(made.__module__)) or ""
    first = text.splitlines()[0]
    assert first.endswith((".", ":"))
    assert "Source:" in text
    assert "Lecture:" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("module", PAGES)
def test_the_pages_that_are_no_ingredients_are_pages_too(module):
    assert "Source:" in page(module)
    assert "Lecture:" in page(module)


def test_its_examples_hold(made):
    assert doctest.testmod(importlib.import_module(made.__module__)).failed == 0


def numbers_of(made: type[Ingredient]) -> list[str]:
    return [
        name for name, field in made.model_fields.items() if type(field.default) in (int, float)
    ]


def test_it_refuses_what_is_no_number(made):
    for name in numbers_of(made):
        for value in (nan, inf, -inf, "a lot"):
            with pytest.raises(RecipeError) as refused:
                made(**{name: value})
            assert refused.value.fix


def test_it_refuses_what_is_out_of_range(made):
    for name in numbers_of(made):
        if name == "value":  # a constant may be anything
            continue
        with pytest.raises(RecipeError):
            made(**{name: -1})


def test_it_refuses_unknown_settings_and_is_frozen(made):
    with pytest.raises(RecipeError, match="has no setting"):
        made(no_such_setting=1)
    settings = made()
    for name in made.model_fields:
        with pytest.raises(Exception, match="frozen"):
            setattr(settings, name, getattr(settings, name))


def test_it_has_a_schema_for_editors(made):
    assert set(made.model_json_schema().get("properties", {})) == set(made.model_fields)
