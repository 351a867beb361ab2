"""Search spaces: from TOML, checked against the recipe; and budgets."""

from math import inf
from pathlib import Path

import pytest

from goodfit.errors import RecipeError
from goodfit.tune.budget import (
    Budget,
    budget_of,
    coarse_share,
    final_epochs,
    finalists_share,
    refine_share,
    reserved,
    seconds_of,
)
from goodfit.tune.space import Base, Dimension, base_of, default_space, grid, narrowed, read_space


@pytest.fixture
def base() -> Base:
    return Base({"augment": [{"kind": "mixup"}, {"kind": "flip"}]}, "the recipe", None)


def written(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text)
    return path


def test_all_four_distributions_are_read_with_and_without_quotes(base, tmp_path):
    text = """
optimizer.lr = { log-uniform = [0.01, 1.0] }
"augment.mixup.alpha" = { uniform = [0.1, 1.0] }
"optimizer.nesterov" = { choice = [true, false] }
[train]
batch_size = { int = [32, 512], log = true }
"""
    space = read_space(written(tmp_path, text), base)
    assert {d.field: d.kind for d in space} == {
        "optimizer.lr": "log-uniform",
        "augment.mixup.alpha": "uniform",
        "optimizer.nesterov": "choice",
        "train.batch_size": "int",
    }
    assert space[3].logarithmic
    assert space[2].choices == ("true", "false")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('"optimizer.lr" = { log-uniform = [0, 1] }', "cannot be log-uniform"),
        ('"optimizer.lr" = { uniform = [2, 1] }', "cannot be uniform"),
        ('"optimizer.lr" = { normal = [0, 1] }', "has no distribution"),
        ('"optimizer.lr" = 0.1', "has no distribution"),
        ('"train.batch_size" = { int = [1.5, 4] }', "cannot be int"),
        ('"optimizer.lr" = { choice = [] }', "cannot be choice"),
        ('"optimizer.rate" = { uniform = [0, 1] }', "has no setting `rate`"),
        ('"loss.smoothing" = { uniform = [0, 7] }', "smoothing"),
        ('"augment.cutout.size" = { uniform = [0, 1] }', "augment has no 'cutout'"),
        ('"optimizer.lr" = ', "not TOML"),
        ("", "empty"),
    ],
)
def test_a_wrong_space_is_refused_in_four_parts(base, tmp_path, line, problem):
    with pytest.raises(RecipeError) as caught:
        read_space(written(tmp_path, line), base)
    assert problem in str(caught.value)
    assert "space.toml" in str(caught.value)
    assert "fix" in str(caught.value)


def test_a_missing_space_names_its_path(base, tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.toml"):
        read_space(tmp_path / "nowhere.toml", base)


def test_settings_build_a_recipe_and_leave_the_base_alone(base):
    recipe = base.recipe({"optimizer.lr": "0.3", "augment.mixup.alpha": "0.2"}, epochs=2)
    assert (recipe.optimizer.lr, recipe.augment[0].alpha, recipe.train.epochs) == (0.3, 0.2, 2)
    assert base.table == {"augment": [{"kind": "mixup"}, {"kind": "flip"}]}


def test_the_default_space_is_around_the_rate_and_has_what_the_recipe_has(base):
    space = {d.field: d for d in default_space(base, 0.1)}
    assert space["optimizer.lr"].low == pytest.approx(0.01)
    assert {"0.0001", "1e-05", "0"} <= set(space["optimizer.weight_decay"].choices)
    assert "augment.mixup.alpha" in space
    assert "augment.cutout.size" not in space


@pytest.mark.parametrize("name", ["digits", "small-fast", "photos-scratch"])
def test_default_spaces_of_shipped_recipes_build(name):
    base = base_of(name)
    for dimension in default_space(base, 0.1):
        for value in dimension.points(2):
            base.recipe({dimension.field: value})


def test_a_range_is_narrowed_inside_itself():
    lr = Dimension("optimizer.lr", "log-uniform", 0.01, 1.0)
    (near,) = narrowed((lr,), {"optimizer.lr": "0.02"}, 5)
    assert (near.low, near.high) == (0.01, pytest.approx(0.1))
    (edge,) = narrowed((lr,), {"optimizer.lr": "50"}, 5)
    assert (edge.low, edge.high) == (0.2, 1.0)


def test_a_grid_begins_in_the_middle_and_soon_varies_the_first_field():
    lr = Dimension("optimizer.lr", "log-uniform", 0.01, 1.0)
    decay = Dimension("optimizer.weight_decay", "choice", choices=("0", "1e-4", "1e-5"))
    cells = grid((lr, decay))
    assert len(cells) == 9
    assert cells[0]["optimizer.lr"] == "0.1"
    assert len({cell["optimizer.lr"] for cell in cells[:3]}) > 1


def test_values_outside_a_dimension_are_none():
    lr = Dimension("optimizer.lr", "log-uniform", 0.01, 1.0)
    assert (lr.value("0.1"), lr.value("2"), lr.value("true")) == (0.1, None, None)


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("45s", 45)])
def test_times_are_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "2h3", "-1h", "0m", ""])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(RecipeError):
        seconds_of(text)


def test_two_budgets_are_refused():
    with pytest.raises(RecipeError, match="one budget"):
        budget_of("1h", 3, None)


def test_shares_stay_within_the_budget():
    trials = Budget(trials=30)
    coarse = coarse_share(trials, 30, 1.0, float("inf"), 12)
    assert coarse.trials == 10
    first = refine_share(trials, 30, 1.0, float("inf"), 10, 0)
    assert 10 + first.trials < 30
    last = refine_share(trials, 30, 1.0, float("inf"), 10 + first.trials, 2)
    assert 10 + first.trials + last.trials == 30 - reserved(trials, 30)
    assert finalists_share(trials, 30, 1.0, float("inf")).trials == reserved(trials, 30) == 6
    hour = Budget(seconds=3600)
    assert refine_share(hour, 30, 10.0, 2000, 0, 0).seconds <= 2000
    assert final_epochs(hour, 30, 10.0) == 30
    assert final_epochs(hour, 3000, 10.0) * 10 <= 3600 / 2


@pytest.mark.parametrize(
    ("budget", "left", "trials"),
    [
        (Budget(trials=9), inf, 0),  # a fifth of them is one
        (Budget(epochs=100), inf, 0),  # 40 of them are one run
        (Budget(epochs=200), inf, 2),
        (Budget(seconds=3600), 599.0, 0),  # 300 seconds a run
        (Budget(seconds=3600), 901.0, 3),
    ],
)
def test_there_are_finalists_only_where_two_fit(budget, left, trials):
    assert finalists_share(budget, 30, 10.0, left).trials == trials
