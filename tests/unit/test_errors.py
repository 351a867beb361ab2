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
