import pickle

import pytest

from goodfit.errors import GoodfitError, MissingExtraError, RecipeError


def test_an_error_has_four_aligned_parts():
    error = RecipeError(
        "no augmentation is called 'cutuot'",
        at="augment[0] in recipe.toml",
        known="cutout, flip, mixup",
        fix="write 'cutout'",
    )
    assert str(error) == (
        "RecipeError: no augmentation is called 'cutuot'\n"
        "  at      augment[0] in recipe.toml\n"
        "  known   cutout, flip, mixup\n"
        "  fix     write 'cutout'"
    )


def test_an_error_cannot_be_built_without_a_fix():
    with pytest.raises(TypeError):
        GoodfitError("something is wrong")  # type: ignore[call-arg]


def test_the_first_place_given_stays():
    error = GoodfitError("wrong", fix="mend it").located("here").located("elsewhere")
    assert error.at == "here"


def test_a_missing_extra_says_how_to_install_it():
    assert "pip install 'goodfit[hub]'" in str(MissingExtraError("hub", "reading the hub"))


@pytest.mark.parametrize(
    "error",
    [
        RecipeError("wrong", at="here", known="a, b", fix="mend it"),
        MissingExtraError("hub", "reading the hub"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_from_one_process_to_another(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
