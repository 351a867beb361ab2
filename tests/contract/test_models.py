"""What every model on the shelf promises. A new file is under test the moment it exists."""

import inspect

import pytest
import torch
from torch import nn

from goodfit.ingredient import find, names
from goodfit.models import Model

SIDE = 32


@pytest.fixture(params=names(Model))
def model(request) -> Model:
    return find(Model, request.param)().suited(SIDE)


def logits_of(output):
    return output if isinstance(output, torch.Tensor) else output[0]


def test_its_page_says_what_it_is_and_where_it_comes_from(model):
    page = inspect.getdoc(inspect.getmodule(type(model))) or ""
    assert "Source:" in page
    assert "Lecture:" in page
    assert page.splitlines()[0].endswith((".", ":", ","))


def test_small_color_images_become_one_logit_per_class(model):
    net = model(7, 3).eval()
    with torch.no_grad():
        logits = net(torch.rand(2, 3, SIDE, SIDE))
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


def test_it_trains_on_gray_images(model):
    torch.manual_seed(0)
    net = model(3, 1).train()
    output = net(torch.rand(4, 1, SIDE, SIDE))
    heads = [output] if isinstance(output, torch.Tensor) else [h for h in output if h is not None]
    loss = sum(nn.functional.cross_entropy(head, torch.tensor([0, 1, 2, 0])) for head in heads)
    loss.backward()
    silent = [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert len(heads) == 1 or 0 < net.aux_weight < 1


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_can_be_built(model, channels):
    with torch.device("meta"):
        net = model(3, channels).eval()
        assert logits_of(net(torch.empty(1, channels, SIDE, SIDE))).shape == (1, 3)


def test_the_size_of_images_makes_every_setting_explicit(model):
    small, large = type(model)().suited(32), type(model)().suited(224)
    assert "auto" not in small.model_dump().values()
    assert "auto" not in large.model_dump().values()
    assert small.suited(224) == small


def test_two_builds_from_one_seed_have_the_same_weights(model):
    states = []
    for _ in "ab":
        torch.manual_seed(5)
        states.append(model(3, 3).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_its_settings_survive_being_written_and_read(model):
    assert type(model)(**model.model_dump()) == model
