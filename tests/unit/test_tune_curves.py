"""Rules on made-up curves."""

from math import exp

import pytest

from goodfit.tune.curves import Curves, look, together


def curves(
    losses: list[float],
    accuracies: list[float] | None = None,
    val_losses: list[float] | None = None,
    train: float | None = None,
) -> Curves:
    looks = accuracies or [0.3, 0.6, 0.8, 0.86, 0.9, 0.93]
    return Curves(tuple(losses), tuple(looks), tuple(val_losses or ()), 10, 5000, train)


def found(c: Curves) -> set[str]:
    return {sign.rule for sign in look(c)}


GOOD = [2.3 * exp(-i / 25) + 0.1 for i in range(100)]


def test_a_good_training_has_no_signs():
    assert found(curves(GOOD, train=0.95)) == set()


@pytest.mark.parametrize(
    "losses",
    [
        [2.3 + 0.1 * i for i in range(50)],
        [2.3, 2.0, 1.0, float("nan"), float("nan")],
        [2.3, 1.9, 1.8, 1.9, 2.2, 2.3, 2.3, 2.31, 2.3, 2.3],
    ],
)
def test_a_loss_that_rises_breaks_or_returns_to_chance_means_a_rate_too_high(losses):
    signs = look(curves(losses))
    assert signs[0].rule == "lr-too-high"
    assert signs[0].lr < 1


def test_a_loss_that_falls_slowly_and_straight_means_a_rate_too_low():
    signs = look(curves([2.3 - 0.004 * i for i in range(100)]))
    assert signs[0].rule == "lr-too-low"
    assert signs[0].lr > 1


def test_a_gap_means_overfitting_and_asks_for_regularization():
    (sign,) = look(curves(GOOD, train=1.0))
    assert sign.rule == "overfit"
    assert sign.regularize > 1


def test_a_validation_loss_that_rises_means_overfitting():
    assert found(curves(GOOD, val_losses=[0.9, 0.5, 0.4, 0.5, 0.6])) == {"overfit"}


def test_training_images_not_learned_mean_underfitting():
    rising = [0.3, 0.4, 0.5, 0.55, 0.6, 0.62]
    assert found(curves(GOOD, rising, train=0.62)) == {"underfit"}


def test_curves_that_do_not_move_mean_a_plateau():
    flat = [2.3 * exp(-i / 3) + 0.5 for i in range(100)]
    assert found(curves(flat, [0.6, 0.7, 0.7, 0.7, 0.7, 0.7])) == {"plateau"}


def test_a_gap_within_chance_is_no_sign():
    few = curves(GOOD, [0.5, 0.8, 0.9], train=1.0)._replace(images=40)
    assert "overfit" not in found(few)


def test_short_and_empty_records_are_no_trouble():
    assert found(Curves((), (), (), 10, 100)) == set()
    assert found(Curves((2.3,), (0.1,), (2.3,), 10, 100, 0.1)) == {"underfit"}


def test_several_signs_ask_together():
    slow = [2.3 - 0.004 * i for i in range(100)]
    asked = together(look(curves(slow, [0.2, 0.3], train=0.3)))
    assert (asked.rule, asked.lr, asked.epochs) == ("lr-too-low and underfit", 3.0, 1.5)
    assert together([]) is None
