"""Activations: their formulas, and what swapping touches and what not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from goodfit.errors import ModelError, RecipeError
from goodfit.layers.alpha_dropout import AlphaDropoutInsertion
from goodfit.layers.elu import Elu
from goodfit.layers.gelu import Gelu
from goodfit.layers.leaky_relu import LeakyRelu
from goodfit.layers.maxout import Maxout, MaxoutConv2d, MaxoutLinear
from goodfit.layers.prelu import Prelu
from goodfit.layers.relu import Relu
from goodfit.layers.selu import Selu
from goodfit.layers.sigmoid import Sigmoid
from goodfit.layers.softplus import Softplus
from goodfit.layers.swish import Swish
from goodfit.layers.tanh import Tanh
from goodfit.models.cnn import CNN
from goodfit.models.fast_net import FastNet
from goodfit.models.resnet import ResNet

X = torch.linspace(-4, 4, 41, dtype=torch.float64)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
FORMULAS = [
    (Sigmoid(), 1 / (1 + torch.exp(-X))),
    (Tanh(), (torch.exp(X) - torch.exp(-X)) / (torch.exp(X) + torch.exp(-X))),
    (Relu(), X.clamp_min(0)),
    (LeakyRelu(), torch.maximum(0.01 * X, X)),
    (LeakyRelu(slope=0.1), torch.maximum(0.1 * X, X)),
    (Prelu(), torch.where(X > 0, X, 0.25 * X)),
    (Elu(alpha=0.7), torch.where(X > 0, X, 0.7 * (torch.exp(X) - 1))),
    (Selu(), SCALE * torch.where(X > 0, X, ALPHA * (torch.exp(X) - 1))),
    (Gelu(), X * 0.5 * (1 + torch.erf(X / 2**0.5))),
    (Swish(), X / (1 + torch.exp(-X))),
    (Softplus(), torch.log(1 + torch.exp(X))),
    (Softplus(sharpness=3), torch.log(1 + torch.exp(3 * X)) / 3),
]


@pytest.mark.parametrize(("activation", "expected"), FORMULAS, ids=lambda a: getattr(a, "name", ""))
def test_it_is_its_formula(activation, expected):
    with torch.no_grad():
        torch.testing.assert_close(activation.module().double()(X), expected)


def test_selu_keeps_mean_zero_and_variance_one():
    x = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    weight = torch.exp(-(x**2) / 2)
    weight /= weight.sum()
    y = Selu().module()(x)
    assert (weight * y).sum().item() == pytest.approx(0, abs=1e-3)
    assert (weight * y**2).sum().item() == pytest.approx(1, abs=1e-3)


def test_maxout_is_the_largest_of_its_affine_maps():
    layer, x = MaxoutLinear(3, 2, pieces=4), torch.randn(5, 3)
    weight, bias = layer.linear.weight.view(4, 2, 3), layer.linear.bias.view(4, 2)
    slow = torch.stack([x @ weight[j].T + bias[j] for j in range(4)]).amax(0)
    torch.testing.assert_close(layer(x), slow)


def test_convolutional_maxout_is_the_largest_of_its_convolutions():
    layer, x = MaxoutConv2d(3, 2, 3, pieces=2, stride=2, padding=1), torch.randn(2, 3, 9, 8)
    parts = zip(layer.conv.weight.chunk(2), layer.conv.bias.chunk(2), strict=True)
    slow = torch.stack([F.conv2d(x, w, b, stride=2, padding=1) for w, b in parts]).amax(0)
    torch.testing.assert_close(layer(x), slow)


def test_maxout_cannot_be_swapped_in_and_says_why():
    with pytest.raises(ModelError) as error:
        Maxout()(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    assert "wider" in str(error.value)
    assert "MaxoutLinear" in error.value.fix
    with pytest.raises(RecipeError, match="pieces"):
        MaxoutLinear(2, 2, pieces=0)


class Gated(nn.Module):
    """Squeeze-and-excitation as people write it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.fc = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Sigmoid())
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x) * self.fc(x) * self.sigmoid(x)


def test_gates_are_left_alone_and_reported():
    model = Gated()
    changed = Gelu()(model)
    assert changed.places == ("act", "fc.1")
    assert [where for where, _ in changed.refused] == ["fc.3", "sigmoid"]
    assert isinstance(model.fc[3], nn.Sigmoid)
    assert "fc.3 left alone" in str(changed)


def test_hidden_sigmoids_are_swapped_and_the_output_is_not():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid())
    assert Relu()(model).places == ("1",)
    assert isinstance(model[3], nn.Sigmoid)


class Functional(nn.Module):
    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.fc, self.rest = nn.Linear(3, 3), nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(F.relu(self.fc(x)))


def test_functions_cannot_be_swapped_and_that_is_said():
    with pytest.raises(ModelError) as error:
        Gelu()(Functional())
    assert "its forward calls relu as a function" in str(error.value)
    changed = Gelu()(Functional(nn.ReLU(), nn.Linear(3, 1)))
    assert changed.places == ("rest.0",)
    assert changed.refused == (("the model", "its forward calls relu as a function"),)


def test_a_shared_activation_stays_shared():
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act, nn.Linear(2, 2))
    assert Prelu()(model).places == ("1", "3")
    assert model[1] is model[3]


@pytest.mark.parametrize("mode", [True, False])
def test_the_new_module_has_the_mode_of_the_old_one(mode):
    model = nn.Sequential(nn.Linear(2, 2).double(), nn.ReLU(), nn.Linear(2, 2).double()).train(mode)
    Prelu()(model)
    assert model[1].training is mode
    assert model[1].weight.dtype == torch.float64


def test_selu_refuses_batch_norm_and_names_its_companions():
    with pytest.raises(ModelError) as error:
        Selu()(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2)))
    assert error.value.at == "1"
    assert "lecun" in error.value.fix
    assert "alpha-dropout" in error.value.fix


@pytest.mark.parametrize("model", [CNN, ResNet, FastNet])
def test_selu_in_a_model_with_batch_norm_is_refused_before_it_is_built(model):
    with pytest.raises(RecipeError, match="batch norm") as error:
        model(activation="selu")
    assert "norm = false" in error.value.fix


def test_selu_in_a_model_without_batch_norm_is_fine():
    net = CNN(activation="selu", norm=False)(2)
    assert any(isinstance(module, nn.SELU) for module in net.modules())


def test_selu_warns_of_plain_dropout_until_alpha_dropout_replaces_it():
    layers = nn.Linear(2, 2), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2, 2)
    model = nn.Sequential(*layers)
    assert Selu()(model).refused == (("2", "plain dropout; SELU wants `alpha-dropout`"),)
    assert AlphaDropoutInsertion()(model).places == ("2",)
    assert Selu()(model).refused == ()


def test_a_slope_above_one_is_refused():
    with pytest.raises(RecipeError, match="slope"):
        LeakyRelu(slope=1.5)


TORCHVISION = [("resnet18", 9, 0), ("mobilenet_v3_small", 33, 9), ("densenet121", 120, 1)]


@pytest.mark.parametrize(("name", "places", "left"), TORCHVISION)
def test_torchvision_models_are_changed_where_they_can_be(name, places, left):
    import torchvision

    with torch.device("meta"):
        model = torchvision.models.get_model(name)
        changed = Swish()(model)
    assert (len(changed.places), len(changed.refused)) == (places, left)
    assert sum(isinstance(m, nn.SiLU) for m in model.modules()) == places


TIMM = [("resnet18", 17, 0), ("efficientnet_b0", 49, 16), ("vit_tiny_patch16_224", 12, 0)]


@pytest.mark.parametrize(("name", "places", "left"), TIMM)
def test_timm_models_are_changed_where_they_can_be(name, places, left):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
        changed = Elu()(model)
    assert (len(changed.places), len(changed.refused)) == (places, left)
    assert sum(isinstance(m, nn.ELU) for m in model.modules()) == places
