"""Do intervals cover as they say? By simulation, with seeds fixed and allowances stated."""

import numpy as np
import pytest
from scipy.stats import binom

from goodfit.metrics import bootstrap, clopper_pearson, evaluate, wilson

SHARES = np.linspace(0.01, 0.99, 99)


def coverage(interval, n: int) -> np.ndarray:
    """The exact probability that `interval` covers each of SHARES, summed over all outcomes."""
    made = [interval(hits, n, 0.95) for hits in range(n + 1)]
    low, high = np.array([(i.low, i.high) for i in made]).T
    holds = (low[:, None] <= SHARES) & (high[:, None] >= SHARES)
    return (binom.pmf(np.arange(n + 1)[:, None], n, SHARES) * holds).sum(axis=0)


@pytest.mark.parametrize("n", [10, 50, 200])
def test_clopper_pearson_covers_at_least_its_level(n):
    assert coverage(clopper_pearson, n).min() >= 0.95


@pytest.mark.parametrize("n", [10, 50, 200])
def test_wilson_covers_its_level_on_average(n):
    assert 0.945 < coverage(wilson, n).mean() < 0.965
    assert coverage(wilson, n).min() > 0.83  # Brown, Cai & DasGupta 2001, near the ends


def test_the_bootstrap_of_a_mean_covers_its_level():
    generator = np.random.default_rng(0)
    covers = 0
    for seed in range(400):
        x = generator.exponential(size=200)
        [mean] = bootstrap(lambda rows, x=x: x[rows].mean(axis=1)[:, None], 200, seed=seed)
        covers += mean.low <= 1 <= mean.high
    # true coverage is near 0.93 for this skewed law; 4 standard errors are 0.05
    assert 0.88 < covers / 400 < 0.985


def calibrated(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    logits = generator.normal(size=(n, 4)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, (p.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)


def test_a_perfectly_calibrated_model_is_not_accused():
    # the lower end may exceed 0 in 2.5% of the cases: at most 8 of 100, else 2e-3
    generator = np.random.default_rng(3)
    seen = [evaluate(*calibrated(150, generator), "abcd").calibration.ece for _ in range(100)]
    assert sum(e.low > 0 for e in seen) <= 8
    assert min(e.value for e in seen) > 0


def test_an_overconfident_model_is_accused():
    generator = np.random.default_rng(3)
    for _ in range(10):
        p, y = calibrated(500, generator)
        sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
        assert evaluate(sharp, y, "abcd").calibration.ece.low > 0.02
