"""Penalties by hand, by their gradients, and as weight decay."""

import pytest
import torch
from torch import nn
from torchvision import models

from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import find, names
from goodfit.optim.sgd import SGD
from goodfit.penalties import Penalty, weights_of
from goodfit.penalties.elastic_net import ElasticNet
from goodfit.penalties.l1 import L1
from goodfit.penalties.l2 import L2


def small() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.PReLU())
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, -4.0]]))
        model[0].bias.fill_(100.0)
    return model


def test_by_hand():
    assert L1(strength=0.1)(small()).item() == pytest.approx(0.7)
    assert L2(strength=0.1)(small()).item() == pytest.approx(2.5)
    assert ElasticNet(strength=0.1, beta=2.0)(small()).item() == pytest.approx(0.1 * (50 + 7))


def test_gradients_by_hand():
    for penalty, expected in (
        (L1(strength=0.1), [0.1, -0.1]),
        (L2(strength=0.1), [0.6, -0.8]),
        (ElasticNet(strength=0.1, beta=1.0), [0.7, -0.9]),
    ):
        model = small()
        penalty(model).backward()
        assert model[0].weight.grad.flatten().tolist() == pytest.approx(expected)
        assert model[0].bias.grad is None


@pytest.mark.parametrize("kind", names(Penalty))
def test_zero_weights_have_a_finite_gradient(kind):
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    find(Penalty, kind)()(model).backward()
    assert (model.weight.grad == 0).all()


def test_l2_is_weight_decay_of_twice_its_strength():
    decayed, penalized = small(), small()
    by_optimizer = SGD(lr=0.1, weight_decay=0.02)(decayed)
    by_penalty = SGD(lr=0.1, weight_decay=0)(penalized)
    for _ in range(5):
        for model, optimizer, penalty in (
            (decayed, by_optimizer, 0.0),
            (penalized, by_penalty, L2(strength=0.01)),
        ):
            optimizer.zero_grad()
            loss = model(torch.tensor([[1.0, 2.0], [0.5, -1.0]])).square().sum()
            (loss + (penalty(model) if penalty else 0)).backward()
            optimizer.step()
    torch.testing.assert_close(decayed[0].weight, penalized[0].weight)


@pytest.mark.parametrize("build", [models.resnet18, models.vit_b_16, models.convnext_tiny])
def test_they_act_on_what_weight_decay_acts_on(build):
    """The two shelves cannot see each other, so this test keeps them together."""
    with torch.device("meta"):
        model = build()
    decayed = [p for g in SGD().groups(model) if g.weight_decay for p in g.parameters]
    assert {id(p) for p in weights_of(model)} == {id(p) for p in decayed}


def test_everything_frozen_or_everything_asked_for():
    model = small()
    assert len(weights_of(model, everything=True)) == 5
    assert L1(strength=1.0, penalize_all=True)(model).item() == pytest.approx(7 + 100 + 1 + 0.25)
    with pytest.raises(ModelError, match="no weights to penalize"):
        L1()(model.requires_grad_(False))


def test_bad_strengths_are_refused():
    for value in (-1.0, float("nan")):
        with pytest.raises(RecipeError):
            L1(strength=value)
