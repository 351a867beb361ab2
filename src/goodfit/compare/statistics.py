"""Paired differences with intervals that count both seeds and test images.

    d[s, i] = score of arm A on image i with seed s  -  the same for the baseline

Seeds and images are both samples from something larger, and crossed: every seed is tested on
every image. So d is a two-way table with random rows and columns,

    Var(mean d) = (MS_seeds + MS_images - MS_rest) / (S N)

from its analysis of variance, with Satterthwaite's degrees of freedom. The variance is never
taken below either factor's own, so the interval errs on the wide side where they are small.
Over the arms of one comparison, verdicts are adjusted by Holm.

Source: Bates, Hastie & Tibshirani 2024 on why images alone are not enough; Searle, Casella &
McCulloch 1992, "Variance Components"; Holm 1979. Lecture: Choosing hyperparameters.
"""

from math import ceil, inf, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, ndtri, stdtr, stdtrit

Verdict = Literal["helps", "hurts", "no difference", "undecided"]
Table = NDArray[np.float64]  # (seeds, images)


class Difference(NamedTuple):
    """One arm against the baseline, in the score's own unit."""

    mean: float
    low: float  # 95% interval, this arm alone
    high: float
    error: float  # standard error of the mean
    freedom: float  # degrees of freedom
    p: float  # of no difference, two-sided
    p_equal: float  # of a difference larger than delta
    seeds: int
    images: int


class Judged(NamedTuple):
    """A difference with its verdict, adjusted for all arms looked at together."""

    difference: Difference
    p_holm: float
    verdict: Verdict
    seeds_needed: (
        int | None
    )  # that would decide, as far as seeds can; None: they cannot, or need not


def difference(d: Table, delta: float, level: float = 0.95) -> Difference:
    """The mean of a paired table `d` (seeds, images) with its interval and tests.

    delta: the largest difference that does not matter, > 0.
    Raises ValueError for fewer than 2 seeds or images, which say nothing about variation.
    """
    seeds, images = d.shape
    if seeds < 2 or images < 2:
        raise ValueError("an interval needs at least 2 seeds and 2 images")
    mean = float(d.mean())
    rows, columns = d.mean(1), d.mean(0)
    ms_seeds = images * float(rows.var(ddof=1))
    ms_images = seeds * float(columns.var(ddof=1))
    rest = d - rows[:, None] - columns[None, :] + mean
    ms_rest = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    cells = seeds * images
    variance = max(ms_seeds + ms_images - ms_rest, ms_seeds, ms_images) / cells
    error = sqrt(variance)
    if error == 0:  # all pairs equal: nothing varies
        p = 1.0 if mean == 0 else 0.0
        return Difference(mean, mean, mean, 0.0, inf, p, float(abs(mean) > delta), seeds, images)
    parts = (
        ms_seeds**2 / (seeds - 1)
        + ms_images**2 / (images - 1)
        + ms_rest**2 / ((seeds - 1) * (images - 1))
    )
    freedom = max(seeds - 1.0, (variance * cells) ** 2 / parts)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(mean) / error))
    p_equal = float(stdtr(freedom, -(delta - abs(mean)) / error))
    return Difference(mean, mean - half, mean + half, error, freedom, p, p_equal, seeds, images)


def holm(p: list[float]) -> list[float]:
    """Holm's adjusted p-values: their family-wise error is controlled whatever their dependence."""
    order = np.argsort(p, kind="stable")
    adjusted, running = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[place]))
        adjusted[int(place)] = running
    return adjusted


def judge(differences: list[Difference], delta: float, alpha: float = 0.05) -> list[Judged]:
    """Verdicts of all arms together; the chance of any false one is at most `alpha`.

    Half of alpha goes to "helps" and "hurts", half to "no difference larger than delta".
    """
    different = holm([d.p for d in differences])
    equal = holm([d.p_equal for d in differences])
    judged = []
    for d, p, p_equal in zip(differences, different, equal, strict=True):
        verdict: Verdict = "undecided"
        if p_equal < alpha / 2:
            verdict = "no difference"
        if p < alpha / 2:
            verdict = "helps" if d.mean > 0 else "hurts"
        needed = (
            seeds_needed(d, delta, alpha / len(differences)) if verdict == "undecided" else None
        )
        judged.append(Judged(d, p, verdict, needed))
    return judged


def seeds_needed(d: Difference, delta: float, alpha: float) -> int | None:
    """Seeds at which the interval around today's mean would leave 0, or fit within delta.

    The variance falls with seeds at best; where images set the limit the answer is a lower bound.
    """
    margin = max(abs(d.mean), delta - abs(d.mean))
    if margin <= 0 or d.error == 0:
        return None
    for seeds in range(d.seeds + 1, 1001):
        error = d.error * sqrt(d.seeds / seeds)
        if stdtrit(seeds - 1, 1 - alpha / 4) * error < margin:
            return seeds
    return None


def spent(look: int, looks: int, alpha: float = 0.05) -> float:
    """The share of alpha for look number `look` (from 1) of `looks`.

    Shares add up to alpha, so stopping at any look keeps the error rate, whatever the dependence
    between looks. Later looks, which have more seeds, get more.
    """
    total = looks * (looks + 1) / 2
    return alpha * look / total


def seeds_for_power(effect: float, sd: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Seeds that find a true `effect` with probability `power`; sd: of paired differences."""
    if effect == 0:
        raise ValueError("no number of seeds finds a difference of zero")
    for seeds in range(2, 100_000):
        bound = stdtrit(seeds - 1, 1 - alpha / 2)
        if 1 - nctdtr(seeds - 1, abs(effect) / sd * sqrt(seeds), bound) >= power:
            return seeds
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return ceil((z * sd / effect) ** 2)
