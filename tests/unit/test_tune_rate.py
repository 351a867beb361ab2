"""The first steps work on copies: nothing they touch is changed, bit for bit."""

import copy
import pickle
import random
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from goodfit.augment.flip import Flip
from goodfit.data import Loader, guess
from goodfit.errors import TrainingError
from goodfit.predict import Classifier
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.tune.first import initial_loss, overfitted
from goodfit.tune.rate import Tried, chosen, search_lr
from goodfit.tune.untouched import untouched


@pytest.fixture(scope="module")
def digits():
    return guess("digits")()


@pytest.fixture
def model(digits):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(8 * 36, 10),
    )  # fmt: skip
    preprocess = ChannelStats(mean=(0.3,), std=(0.4,))()
    return Classifier(preprocess, net, digits.classes)


@pytest.fixture
def optimizer(model):
    body, head = list(model.parameters())[:-2], list(model.parameters())[-2:]
    groups = [{"params": body}, {"params": head, "lr": 0.2}]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


@pytest.fixture
def loader(digits):
    return Loader(digits.train, 64, shuffle=True, seed=3, workers=0).at(1, 2)


def everything(model, optimizer, loader):
    """All that a search could disturb, as bytes."""
    state = [*model.state_dict().items(), *((n, p.grad) for n, p in model.named_parameters())]
    return pickle.dumps(
        (
            [(name, None if t is None else t.numpy().tobytes()) for name, t in state],
            [m.training for m in model.modules()],
            optimizer.state_dict()["param_groups"],
            sorted(
                (k, {n: np.asarray(v).tobytes() for n, v in s.items() if v is not None})
                for k, s in optimizer.state_dict()["state"].items()
            ),
            torch.get_rng_state().numpy().tobytes(),
            random.getstate(),
            np.random.get_state()[1].tobytes(),
            (loader.epoch, loader.batch),
        )
    )


def test_a_search_for_the_rate_leaves_everything_bit_for_bit(model, optimizer, loader):
    for batch in loader:  # so that there is momentum, and batch norm has seen something
        F.cross_entropy(model(batch.images), batch.targets).backward()
        optimizer.step()
        break
    loader.at(1, 2)
    before = everything(model, optimizer, loader)
    found = search_lr(
        model, optimizer, loader, loss=F.cross_entropy, lrs=(0.01, 0.1, 1e9), steps=12,
        augment=(Flip(),),
    )  # fmt: skip
    assert everything(model, optimizer, loader) == before
    assert found.lr in {row.lr for row in found.tried}


def test_training_after_a_search_is_as_without_one(model, optimizer, loader):
    twin_model, twin_optimizer = copy.deepcopy((model, optimizer))
    search_lr(model, optimizer, loader, loss=F.cross_entropy, lrs=(0.1,), steps=5)
    batches = list(loader)[:3]
    for net, moved in ((model, optimizer), (twin_model, twin_optimizer)):
        torch.manual_seed(7)
        net.train()
        for batch in batches:
            moved.zero_grad()
            F.cross_entropy(net(batch.images), batch.targets).backward()
            moved.step()
    pairs = zip(model.state_dict().values(), twin_model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_checks_leave_everything_bit_for_bit(model, optimizer, loader):
    batches = list(loader)[:2]
    loader.at(1, 2)
    before = everything(model, optimizer, loader)
    first = initial_loss(model, batches)
    overfitted(model, optimizer, batches, loss=F.cross_entropy, steps=20)
    assert everything(model, optimizer, loader) == before
    assert first.expected == log(10)


def test_random_states_come_back_after_an_error(loader):
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate(), (loader.epoch, loader.batch)

    def disturb():
        with untouched(loader):
            torch.rand(3), random.random(), next(iter(loader)), loader.at(5, 1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        disturb()
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), (loader.epoch, loader.batch))


def test_a_few_batches_are_learned_by_heart(model, optimizer, loader):
    found = overfitted(model, optimizer, list(loader)[:2], loss=F.cross_entropy, steps=200)
    assert found.accuracy == 1.0
    assert "goes on" in found.onward or "worth" in found.onward


def test_a_net_that_cannot_learn_stops_tuning(optimizer, loader, model):
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.requires_grad_(False).zero_()
    with pytest.raises(TrainingError, match="goodfit check"):
        overfitted(model, optimizer, list(loader)[:2], loss=F.cross_entropy, steps=10)


def test_a_net_that_had_no_time_to_learn_is_not_called_unable(optimizer, loader, model):
    found = overfitted(
        model, optimizer, list(loader)[:2], loss=F.cross_entropy, lrs=(), steps=200, seconds=0
    )
    assert found.cut
    assert found.steps < 10


def test_confident_guesses_at_the_start_are_told(model, loader):
    with torch.no_grad():
        model.net[-1].weight.mul_(100)
    found = initial_loss(model, list(loader)[:2])
    assert not found.fine
    assert "confident" in found.onward


def test_the_largest_rate_that_is_nearly_best_is_chosen():
    ends = {0.001: 2.2, 0.01: 1.5, 0.1: 0.50, 0.3: 0.52, 1.0: 2.0, 10.0: float("inf")}
    rows = [Tried(lr, (2.3, end)) for lr, end in ends.items()]
    assert chosen(rows, 2.3) == 0.3


def test_where_no_rate_helps_none_is_chosen():
    assert chosen([Tried(0.1, (2.3, 2.3)), Tried(1.0, (2.3, float("inf")))], 2.3) is None


def test_groups_keep_the_ratio_of_their_rates(model, optimizer, loader, monkeypatch):
    seen = []

    def fit(net, batches, *, optimizer, **settings):
        seen.append([group["lr"] for group in optimizer.param_groups])
        yield SimpleNamespace(number=1, loss=torch.tensor(2.0))

    monkeypatch.setattr("goodfit.tune.rate.fit", fit)
    search_lr(model, optimizer, loader, loss=F.cross_entropy, lrs=(0.5,), steps=1)
    assert seen[0] == [0.5, 1.0]
