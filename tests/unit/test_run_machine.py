"""The fastest precision and layout, by times that are made up here."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from goodfit.run import machine

PLAIN, HALF = torch.float32, torch.bfloat16


@pytest.fixture
def found(monkeypatch):
    """Chooses among four candidates whose seconds for n images are given."""

    def choose(seconds):
        def step(_model, images, _targets, _loss, precision, last):
            return seconds(len(images), precision, last)

        monkeypatch.setattr(machine, "_step", step)
        images, targets = torch.zeros(128, 3, 4, 4), torch.zeros(128, 2)
        return machine.measured(
            nn.Flatten(), images, targets, F.cross_entropy, [PLAIN, HALF], [False, True]
        )

    return choose


def test_what_is_slow_on_two_images_may_be_the_fastest_on_all(found):
    speed = found(lambda n, precision, last: 3e-3 + n * 1e-5 if precision == HALF else n * 1e-3)
    assert speed.precision == HALF


def test_what_is_hopeless_is_given_up_before_it_costs_much(found):
    asked = []

    def seconds(n, precision, last):
        if precision == HALF:
            asked.append(n)
        return n * (5e-3 if precision == HALF else 1e-3)

    assert found(seconds).precision == PLAIN
    assert set(asked) == {2}


def test_on_a_tie_nothing_is_changed(found):
    speed = found(
        lambda n, precision, last: n * (1e-3 if (precision, last) == (PLAIN, False) else 0.99e-3)
    )
    assert (speed.precision, speed.channels_last) == (PLAIN, False)
