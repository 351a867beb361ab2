"""Error rates by simulation. Each bound is the stated rate plus 4.3 standard errors of the
simulation, so a correct implementation fails with probability below 1e-5."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from goodfit.compare.statistics import difference, holm, judge, seeds_for_power, spent


def table(rng, effect=0.0, seeds=5, images=100, seed_sd=0.005, image_sd=0.1, noise=0.2):
    """A made table of paired differences with random seeds and random images."""
    return (
        effect
        + rng.normal(0, seed_sd, (seeds, 1))
        + rng.normal(0, image_sd, (1, images))
        + rng.normal(0, noise, (seeds, images))
    )


def at_most(rate: float, repeats: int) -> float:
    return rate + 4.3 * sqrt(rate * (1 - rate) / repeats)


@pytest.mark.parametrize(
    "setting",
    [
        {"seed_sd": 0.02},
        {"seed_sd": 0.0},
        {"image_sd": 0.0},
        {"seeds": 2, "seed_sd": 0.02},
        {"seeds": 10},
    ],
)
def test_intervals_cover_at_least_as_stated(setting):
    rng, repeats = np.random.default_rng(0), 1500
    missed = 0
    for _ in range(repeats):
        d = difference(table(rng, effect=0.01, **setting), delta=0.01)
        missed += not d.low <= 0.01 <= d.high
    assert missed / repeats <= at_most(0.05, repeats)


def test_no_false_verdict_over_arms_beyond_five_percent():
    rng, repeats = np.random.default_rng(1), 800
    false = 0
    for _ in range(repeats):
        arms = [difference(table(rng, seed_sd=0.02), delta=0.005) for _ in range(4)]
        false += any(j.verdict in ("helps", "hurts") for j in judge(arms, 0.005))
    assert false / repeats <= at_most(0.05, repeats)


def test_no_false_claim_of_no_difference():
    rng, repeats = np.random.default_rng(2), 800
    false = sum(
        judge([difference(table(rng, effect=0.02, seed_sd=0.01), delta=0.02)], 0.02)[0].verdict
        == "no difference"
        for _ in range(repeats)
    )
    assert false / repeats <= at_most(0.05, repeats)


def test_looking_early_keeps_the_error_rate():
    rng, repeats, looks = np.random.default_rng(3), 500, 6
    false = 0
    for _ in range(repeats):
        d = table(rng, seeds=looks + 2, images=100, seed_sd=0.03)
        for look in range(1, looks + 1):
            [found] = judge([difference(d[: look + 2], 0.001)], 0.001, alpha=spent(look, looks))
            if found.verdict in ("helps", "hurts"):
                false += 1
                break
    assert false / repeats <= at_most(0.05, repeats)


def test_shares_of_alpha_add_up():
    assert sum(spent(look, 7) for look in range(1, 8)) == pytest.approx(0.05)


def test_power_is_as_stated():
    rng, repeats = np.random.default_rng(4), 1500
    seeds = seeds_for_power(effect=0.02, sd=0.02, alpha=0.05, power=0.8)
    found = 0
    for _ in range(repeats):
        x = rng.normal(0.02, 0.02, seeds)
        found += stats.ttest_1samp(x, 0).pvalue < 0.05
    assert found / repeats >= 0.8 - 4.3 * sqrt(0.16 / repeats)


def test_a_clear_difference_is_found_and_a_tiny_one_is_called_none():
    rng = np.random.default_rng(5)
    [up] = judge([difference(table(rng, effect=0.1), 0.01)], 0.01)
    [down] = judge([difference(table(rng, effect=-0.1), 0.01)], 0.01)
    [none] = judge([difference(table(rng, images=20_000, seeds=8, seed_sd=0.0005), 0.02)], 0.02)
    assert (up.verdict, down.verdict, none.verdict) == ("helps", "hurts", "no difference")


def test_equal_runs_are_no_difference():
    d = difference(np.zeros((3, 50)), delta=0.01)
    assert judge([d], 0.01)[0].verdict == "no difference"


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="2 seeds"):
        difference(np.zeros((1, 50)), delta=0.01)


def test_holm_against_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_with_one_image_per_seed_noise_alone_it_is_students_t():
    rng = np.random.default_rng(6)
    rows = rng.normal(0.1, 0.3, 6)
    d = difference(np.repeat(rows[:, None], 50, axis=1), delta=0.01)
    low, high = stats.ttest_1samp(rows, 0).confidence_interval(0.95)
    assert (d.low, d.high) == pytest.approx((low, high))
