"""Intervals around estimates: of a share (Wilson, Clopper and Pearson), of anything (bootstrap).

    Wilson           all shares that a two-sided score test at this level would not reject
    Clopper-Pearson  all shares that an exact binomial test would not reject: never too short
    bootstrap        2 * estimate - quantiles of the resampled estimates

Source: Wilson 1927; Clopper & Pearson 1934; Davison & Hinkley 1997, section 5.2.

>>> print(wilson(96, 100))
0.96 [0.9016, 0.9843]
>>> print(clopper_pearson(96, 100))
0.96 [0.9007, 0.989]
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict

RESAMPLES = 1000
_CHUNK = 2_000_000  # things resampled at once: bounds the memory


class Record(BaseModel):
    """Plain frozen data that goes to JSON and back."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Record):
    """An estimate and the interval around it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def wilson(hits: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share, which stays inside 0..1 and is never empty."""
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    share, middle = hits / n, (hits + z2 / 2) / (n + z2)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    low = 0.0 if hits == 0 else middle - half
    return Interval(value=share, low=low, high=1.0 if hits == n else middle + half)


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a share: covers at least `level`, at the price of width."""
    from scipy.special import betaincinv  # here, so that reading a record does not load scipy

    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return Interval(value=hits / n, low=low, high=high)


def bootstrap(
    statistic: Callable[[Int[np.ndarray, "b n"]], Float[np.ndarray, "b m"]],
    n: int,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Bootstrap intervals of m statistics of n things, from the same resamples.

    `statistic` gets rows of places 0..n-1 and answers a row of m values each. The interval
    reflects the resamples about the estimate (2 * estimate - quantile), which undoes a bias,
    always holds the estimate, and is cut at 0: the statistics must not be negative.
    """
    generator = np.random.default_rng(seed)
    estimate = statistic(np.arange(n)[None])[0]
    rows = max(1, _CHUNK // n)
    drawn = [
        statistic(generator.integers(n, size=(min(rows, resamples - done), n)))
        for done in range(0, resamples, rows)
    ]
    tail = (1 - level) / 2
    upper, lower = np.quantile(np.concatenate(drawn), [1 - tail, tail], axis=0)
    low = np.maximum(2 * estimate - np.maximum(upper, estimate), 0)
    high = 2 * estimate - np.minimum(lower, estimate)
    return [
        Interval(value=v, low=a, high=b)
        for v, a, b in zip(estimate.tolist(), low.tolist(), high.tolist(), strict=True)
    ]
