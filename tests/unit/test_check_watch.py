"""The watcher: finds what goes wrong in a running loop, and costs little."""

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from goodfit.check import Watcher
from goodfit.check.probes.curves import Curves
from goodfit.check.rules.loss_oscillation import LossOscillation
from goodfit.check.rules.loss_plateau import LossPlateau
from goodfit.check.rules.overfitting import Overfitting
from goodfit.check.rules.underfitting import Underfitting
from goodfit.check.seen import Seen


def run(
    lr: float, steps: int = 60, *, bias: float = 0.0, nan_at: int = -1, grow: float = 1.0
) -> set[str]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    nn.init.constant_(model[0].bias, bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    watcher = Watcher(model, optimizer, every=5)
    x, y = torch.randn(128, 8), torch.randint(0, 3, (128,))
    for number in range(1, steps + 1):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model[0].weight.mul_(grow)
            model[2].weight.div_(grow)
        watcher.step(number, loss * float("nan") if number == nan_at else loss)
    watcher.close()
    assert not model[1]._forward_hooks
    return {f.rule for f in watcher.findings}


def test_a_healthy_run_is_quiet():
    assert run(0.01) == set()


def test_weights_that_jump_are_reported():
    assert "lr-too-high" in run(0.01, steps=40, grow=1.3)


def test_weights_before_a_norm_may_turn_fast_while_the_loss_falls():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64, bias=False), nn.BatchNorm1d(64), nn.Linear(64, 3))
    groups = [
        {"params": [model[0].weight, model[2].weight], "lr": 0.02, "weight_decay": 8.0},
        {"params": list(model[1].parameters()), "lr": 0.02, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    watcher = Watcher(model, optimizer, every=5)
    x = torch.randn(256, 8)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    sizes = []
    for number in range(1, 61):
        before = model[0].weight.detach().clone()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sizes.append(float((model[0].weight - before).norm() / before.norm()))
        watcher.step(number, loss)
    watcher.close()
    assert sorted(sizes)[30] > 0.1  # the case is what it says
    assert "lr-too-high" not in {f.rule for f in watcher.findings}


def test_weights_that_do_not_move_are_reported():
    assert "lr-too-low" in run(1e-12)


def test_dead_units_are_reported():
    assert "dead-units" in run(0.01, bias=-50.0)


def test_the_step_of_the_first_nan_is_named():
    assert run(0.01, nan_at=17) == {"gradient-nonfinite"}


def curves(losses: list[float], val: list[float] = [], **more: object) -> Seen:  # noqa: B006
    steps = tuple(range(10, 10 * len(losses) + 1, 10))
    places = tuple(20 * (i + 1) for i in range(len(val)))
    return Seen(Curves(steps, tuple(losses), places, tuple(val), lr=0.1, peak=0.1, **more))  # type: ignore[arg-type]


def test_rising_val_loss_under_falling_train_loss_is_overfitting():
    train = [2.0 / (i + 1) for i in range(20)]
    assert list(Overfitting()(curves(train, [1.0, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])))
    assert not list(Overfitting()(curves(train, [1.0, 0.9, 0.8, 0.7, 0.71, 0.69, 0.7])))


def test_a_loss_that_never_left_chance_is_underfitting():
    assert list(Underfitting()(curves([2.3] * 20, total=200, chance=2.3)))
    assert not list(
        Underfitting()(curves([2.3 - 0.1 * i for i in range(20)], total=200, chance=2.3))
    )


def test_a_flat_curve_is_a_plateau():
    noise = torch.randn(60, generator=torch.Generator().manual_seed(0)).tolist()
    flat = [2.0 - 0.2 * (i < 3) + 0.005 * noise[i] for i in range(60)]
    falling = [2.0 * 0.97**i + 0.005 * noise[i] for i in range(60)]
    assert list(LossPlateau()(curves(flat)))
    assert not list(LossPlateau()(curves(falling)))


def test_a_swinging_curve_oscillates():
    assert list(LossOscillation()(curves([1.0 + 0.5 * (-1) ** i for i in range(20)])))
    assert not list(LossOscillation()(curves([2.0 * 0.9**i for i in range(20)])))


@pytest.mark.slow
def test_it_costs_less_than_two_percent():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 144, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    watcher = Watcher(model, optimizer)
    x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    whole, own = time.process_time(), 0.0
    for number in range(1, 201):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        before = time.process_time()
        watcher.step(number, loss)
        own += time.process_time() - before
    assert own / (time.process_time() - whole) < 0.02
