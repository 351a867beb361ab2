"""Schedules against torch's schedulers and the formulas of their papers."""

import warnings
from math import ceil, cos, floor, pi, sqrt

import pytest
import torch
from torch.optim import lr_scheduler

from goodfit.schedules.constant import Constant
from goodfit.schedules.cosine import Cosine
from goodfit.schedules.cosine_restarts import CosineRestarts
from goodfit.schedules.exponential import Exponential
from goodfit.schedules.inverse_sqrt import InverseSqrt
from goodfit.schedules.linear import Linear
from goodfit.schedules.multi_step import MultiStep
from goodfit.schedules.one_cycle import OneCycle
from goodfit.schedules.polynomial import Polynomial
from goodfit.schedules.step import Step

T = 90


def torchs(build) -> list[float]:
    """The factors that a scheduler of torch's sets over T steps, for a base rate of 1."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.95)
    scheduler = build(optimizer)
    factors = []
    for _ in range(T):
        factors.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.step()
    return factors


@pytest.mark.parametrize(
    ("ours", "build"),
    [
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (Step(every=1 / 3), lambda o: lr_scheduler.StepLR(o, 30, gamma=0.1)),
        (Step(every=0.1, gamma=0.5), lambda o: lr_scheduler.StepLR(o, 9, gamma=0.5)),
        (MultiStep(), lambda o: lr_scheduler.MultiStepLR(o, [30, 60, 80])),
        (Cosine(warmup=0), lambda o: lr_scheduler.CosineAnnealingLR(o, T)),
        (Cosine(warmup=0, floor=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, T, 0.1)),
        (Linear(warmup=0), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, T)),
        (Polynomial(warmup=0, power=0.9), lambda o: lr_scheduler.PolynomialLR(o, T, 0.9)),
        (Exponential(end=0.5**T), lambda o: lr_scheduler.ExponentialLR(o, 0.5)),
        (CosineRestarts(cycles=3), lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 30)),
        (
            CosineRestarts(cycles=4, stretch=2),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 6, T_mult=2),
        ),
    ],
    ids=lambda value: str(getattr(value, "name", "")),
)
def test_it_is_torchs(ours, build):
    theirs = torchs(build)
    assert [ours(t / T) for t in range(T)] == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_one_cycle_is_torchs_with_its_momentum():
    """torch counts T - 1 intervals, and its peak lies at pct_start * T - 1."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=0.9)
    steps = 101
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, pct_start=31 / steps)
    ours = OneCycle(rise=0.3)
    for t in range(steps):
        group = optimizer.param_groups[0]
        assert ours(t / (steps - 1)) == pytest.approx(group["lr"], rel=1e-6)
        assert ours.momentum(t / (steps - 1)) == pytest.approx(group["momentum"], rel=1e-6)
        if t < steps - 1:
            optimizer.step()
            scheduler.step()


def test_snapshots_follow_their_paper():
    """Huang et al. 2017, eq. 2, counts steps from 1."""
    cycles, steps = 5, 100
    ours = CosineRestarts(cycles=cycles)
    length = ceil(steps / cycles)
    for t in range(1, steps + 1):
        paper = 0.5 * (1 + cos(pi * ((t - 1) % length) / length))
        assert ours((t - 1) / steps) == pytest.approx(paper)


@pytest.mark.parametrize("done", [0.0, 0.01, 0.1, 0.3, 0.5, 0.77, 1.0])
def test_closed_forms(done):
    w = 0.1
    u = max(0, (done - w) / (1 - w))
    rise = min(1, done / w)
    assert Constant(warmup=w)(done) == pytest.approx(rise)
    assert Linear(warmup=w)(done) == pytest.approx(rise * (1 - u))
    assert Cosine(warmup=w)(done) == pytest.approx(rise * (1 + cos(pi * u)) / 2)
    assert Polynomial(warmup=w, power=2)(done) == pytest.approx(rise * (1 - u) ** 2)
    assert Exponential(warmup=w, end=0.01)(done) == pytest.approx(rise * 0.01**u)
    assert InverseSqrt(warmup=w)(done) == pytest.approx(done / w if done < w else sqrt(w / done))
    assert Step(every=0.25, warmup=w)(done) == pytest.approx(rise * 0.1 ** floor(done / 0.25))
