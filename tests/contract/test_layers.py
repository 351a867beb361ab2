"""What every file on the shelf of layers keeps; a new file is under test the moment it exists."""

import copy
import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

import goodfit.layers
from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import find, names, page
from goodfit.layers._base import Activation, Insertion, StochasticLayer

KINDS = names(Insertion)
FILES = [m.name for m in pkgutil.iter_modules(goodfit.layers.__path__) if m.name[0] != "_"]
RANDOM = [
    cls
    for file in FILES
    for _, cls in inspect.getmembers(importlib.import_module(f"goodfit.layers.{file}"))
    if inspect.isclass(cls)
    and issubclass(cls, StochasticLayer)
    and cls.__module__ == f"goodfit.layers.{file}"
]


class Block(nn.Module):
    """A residual block without norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = (
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.act(self.first(x)))


def net() -> nn.Module:
    """A small net that has a place for every insertion."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), Block(), Block()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)),
    )


def example(cls: type[StochasticLayer]) -> tuple[StochasticLayer, torch.Tensor]:
    """A layer with its defaults, and an input that it takes."""
    torch.manual_seed(1)
    if "linear" in inspect.signature(cls).parameters:
        return cls(nn.Linear(6, 4)), torch.randn(5, 6)  # type: ignore[call-arg]
    return cls(), torch.randn(5, 3, 9, 12)


def draws_differ(layer: StochasticLayer, x: torch.Tensor) -> bool:
    return any(not torch.equal(layer(x), layer(x)) for _ in range(20))


@pytest.mark.parametrize("file", FILES)
def test_its_page_has_all_parts(file):
    text = page(f"goodfit.layers.{file}")
    assert "At test time" in text
    assert "Source:" in text
    assert "Lecture:" in text
    assert text.split("\n\n")[0].endswith((".", "?"))


@pytest.mark.parametrize("kind", KINDS)
def test_it_can_be_named_in_a_recipe_and_refuses_unknown_settings(kind):
    assert find(Insertion, kind)().name == kind
    with pytest.raises(RecipeError, match="no setting `nonsense`"):
        find(Insertion, kind)(nonsense=1)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "maxout"])
def test_it_changes_a_model_and_says_where(kind):
    model = net()
    before, images = dict(model.state_dict()), torch.rand(3, 3, 12, 16)
    changed = find(Insertion, kind)()(model)
    assert changed.places
    known = dict(model.named_modules())
    assert all(place in known for place in changed.places)
    assert set(before) <= set(model.state_dict()) or kind == "drop-connect"
    for mode in (True, False):
        assert model.train(mode)(images).shape == (3, 4)
    again = copy.deepcopy(model)
    assert torch.equal(again(images), model(images)), "a copy computes the same"


@pytest.mark.parametrize("kind", KINDS)
def test_it_refuses_a_model_that_has_no_place_for_it(kind):
    with pytest.raises(ModelError) as error:
        find(Insertion, kind)()(nn.Sequential(nn.Flatten()))
    assert error.value.fix


@pytest.mark.parametrize("kind", [k for k in names(Activation) if k != "maxout"])
def test_an_activation_builds_a_module_that_is_the_same_in_both_modes(kind):
    module, x = find(Activation, kind)().module(), torch.randn(4, 5)
    assert torch.equal(module.train()(x), module.eval()(x))


@pytest.mark.parametrize("cls", RANDOM)
def test_training_draws_and_evaluation_does_not(cls):
    layer, x = example(cls)
    assert draws_differ(layer.train(), x)
    assert not draws_differ(layer.eval(), x)


@pytest.mark.parametrize("cls", RANDOM)
def test_a_draw_is_repeated_by_the_global_seed(cls):
    layer, x = example(cls)
    torch.manual_seed(3)
    once = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), once)


@pytest.mark.parametrize("cls", RANDOM)
def test_a_given_draw_is_deterministic_and_leaves_the_input_alone(cls):
    layer, x = example(cls)
    z, before = layer.draw(x), x.clone()
    assert torch.equal(layer.given(x, z), layer.given(x, z))
    assert torch.equal(x, before)
    assert layer.given(x, z).shape == layer.expect(x).shape


@pytest.mark.parametrize("cls", RANDOM)
@pytest.mark.parametrize("count", [1, 7])
def test_gradients_flow_for_any_batch_size(cls, count):
    layer, x = example(cls)
    x = x[:1].repeat(count, *(1,) * (x.ndim - 1)).requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("cls", RANDOM)
@pytest.mark.parametrize("prob", [1.0, 1.2, -0.1])
def test_a_probability_out_of_range_is_refused(cls, prob):
    if "prob" not in inspect.signature(cls).parameters:
        pytest.skip("it has no probability")
    args = [nn.Linear(6, 4)] if "linear" in inspect.signature(cls).parameters else []
    with pytest.raises(RecipeError, match="prob"):
        cls(*args, prob=prob)


@pytest.mark.compile
@pytest.mark.parametrize("cls", RANDOM)
def test_a_given_draw_compiles_to_one_graph(cls):
    layer, x = example(cls)
    z = layer.draw(x)
    compiled = torch.compile(layer.given, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, z), layer.given(x, z))
