import math

import pytest
from pydantic import ValidationError

from goodfit.augment import Augmentation
from goodfit.augment.cutout import Cutout
from goodfit.errors import RecipeError
from goodfit.ingredient import find, names, page
from goodfit.schedules import Schedule
from goodfit.schedules.cosine import Cosine


def test_the_name_is_the_place():
    assert find(Augmentation, "cutout") is Cutout
    assert Cutout().name == "cutout"


def test_every_file_of_a_shelf_is_found_by_its_name():
    for kind in names(Schedule):
        assert find(Schedule, kind)().name == kind


def test_a_misspelt_name_is_answered_with_the_closest():
    with pytest.raises(RecipeError) as caught:
        find(Augmentation, "cutuot")
    assert caught.value.problem == "no augmentation is called 'cutuot'"
    assert caught.value.fix == "write 'cutout'"


@pytest.mark.parametrize("kind", ["", "_base", "../cutout", "cut out", "os", "cutout.py"])
def test_nothing_outside_the_shelf_is_found(kind):
    with pytest.raises(RecipeError):
        find(Augmentation, kind)


def test_an_unknown_setting_is_answered_with_the_closest():
    with pytest.raises(RecipeError) as caught:
        Cutout(siez=0.5)
    assert str(caught.value).startswith("RecipeError: cutout has no setting `siez`")
    assert caught.value.fix == "write `size`"


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "big", None])
def test_a_number_outside_its_range_is_refused(value):
    with pytest.raises(RecipeError, match="prob"):
        Cutout(prob=value)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Cutout().prob = 0.5


def test_a_replaced_setting_is_checked_and_the_rest_stays():
    changed = Cosine(warmup=0.2).replaced(floor=0.1)
    assert (changed.warmup, changed.floor) == (0.2, 0.1)
    with pytest.raises(RecipeError):
        changed.replaced(floor=2.0)


def test_a_file_of_the_users_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from goodfit.schedules import Schedule\n\n"
        "class Half(Schedule):\n    def __call__(self, done):\n        return 0.5\n"
    )
    own = find(Schedule, "mine.py:Half", tmp_path)
    assert own()(0.3) == 0.5
    assert own().name == "mine.py:Half"


def test_a_broken_file_of_the_users_own_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(RecipeError, match=r"broken\.py cannot be imported"):
        find(Schedule, "broken.py:Any", tmp_path)
    with pytest.raises(RecipeError, match=r"no file missing\.py"):
        find(Schedule, "missing.py:Any", tmp_path)


def test_a_page_is_the_docstring_of_the_file():
    assert page(Augmentation, "cutout").startswith("Hide one random square")
