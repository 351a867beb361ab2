"""What initializations find, touch, leave alone, and say."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import find, names
from goodfit.init import Init
from goodfit.init._graph import Following, is_activation
from goodfit.init.kaiming import Kaiming
from goodfit.init.lsuv import LSUV
from goodfit.init.normal import Normal
from goodfit.init.orthogonal import Orthogonal
from goodfit.init.residual import Residual
from goodfit.init.zeros import Zeros

ROOT2 = 2**0.5
ALONE = [k for k in names(Init) if not find(Init, k).needs_images and k != "residual"]


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5)
    )


@pytest.mark.parametrize("kind", ALONE)
def test_every_parameter_is_touched_or_left_with_a_reason(kind):
    model = nn.TransformerEncoderLayer(8, 2, 16) if kind == "normal" else net()
    report = find(Init, kind)()(model)
    assert sorted([*report.touched, *(name for name, _ in report.left)]) == sorted(
        name for name, _ in model.named_parameters()
    )
    assert all(why for _, why in report.left)
    assert str(len(report.touched)) in str(report)


@pytest.mark.parametrize("kind", ALONE)
def test_it_really_changes_the_weights_and_zeroes_the_biases(kind):
    model = net()
    before = [model[0].weight.clone(), model[4].weight.clone()]
    find(Init, kind)()(model)
    assert not torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[4].weight, before[1])
    assert model[0].bias.abs().max() == model[4].bias.abs().max() == 0
    assert (model[1].weight == 1).all()


@pytest.mark.parametrize("kind", ALONE)
def test_the_same_seed_gives_the_same_weights(kind):
    models_ = net(), net()
    for model in models_:
        torch.manual_seed(3)
        find(Init, kind)()(model)
    assert torch.equal(models_[0][4].weight, models_[1][4].weight)


def test_zeros_gives_all_classes_the_same_score():
    model = net()
    Zeros()(model)
    assert (model(torch.randn(2, 3, 8, 8)) == 0).all()


def test_a_zero_head_starts_at_the_logarithm_of_the_classes():
    model = net()
    Kaiming(head="zero")(model)
    assert model[0].weight.std() > 0
    assert (model(torch.randn(2, 3, 8, 8)) == 0).all()


def test_frozen_layers_stay():
    model = net()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    report = Normal()(model)
    assert torch.equal(model[0].weight, before)
    assert ("0.weight", "frozen") in report.left


def test_a_model_without_layers_is_refused():
    for init in (Normal(), LSUV()):
        with pytest.raises(ModelError, match="no linear or convolutional layer"):
            init(nn.Sequential(nn.BatchNorm2d(3)), torch.zeros(1, 3, 2, 2))
    with pytest.raises(ModelError, match="lazy"):
        Normal()(nn.Sequential(nn.LazyLinear(3)))


def test_orthogonal_rows_are_orthogonal_within_each_group():
    conv = nn.Conv2d(8, 8, 3, groups=2)
    Orthogonal(gain=2.0)(conv)
    for block in conv.weight.detach().chunk(2):
        rows = block.flatten(1)
        torch.testing.assert_close(rows @ rows.T, 4 * torch.eye(4), rtol=1e-4, atol=1e-4)


def test_bad_settings_are_refused():
    for settings in ({"gain": -1}, {"gain": "relu"}, {"fan": "both"}):
        with pytest.raises(RecipeError):
            Kaiming(**settings)


# what follows what


def gains(model: nn.Module) -> list[float]:
    following = Following(model)
    kinds = (nn.Linear, nn.Conv2d)
    return [following.gain(n) for n, m in model.named_modules() if isinstance(m, kinds)]


def test_the_gain_is_that_of_the_activation_that_follows():
    model = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 4, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4, 4), nn.SELU()),
        *(nn.Dropout(), nn.Linear(4, 2)),
    )
    expected = [ROOT2, (2 / 1.04) ** 0.5, 1.0, 1.0]
    assert gains(model) == pytest.approx(expected, abs=1e-4)


class Functional(nn.Module):
    """Its activations are functions, and it is made in another order than it runs."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.5)
        x = x + self.second(x).relu()
        return self.last(x)


def test_functions_and_methods_are_seen_too():
    assert gains(Functional()) == pytest.approx([1.0, (2 / 1.25) ** 0.5, ROOT2], abs=1e-4)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act, self.b = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = -x
        return self.b(self.act(self.a(x)))


def test_where_tracing_fails_the_order_decides():
    assert gains(Untraceable()) == pytest.approx([ROOT2, 1.0], abs=1e-4)


def test_resnets_have_kaimings_gain_everywhere_but_in_the_head():
    found = gains(models.resnet18())
    assert found[:-1] == pytest.approx([ROOT2] * 20, abs=1e-4)
    assert found[-1] == 1.0


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs()


def test_activations_are_told_from_other_modules():
    yes = [nn.ReLU(), nn.Tanh(), nn.PReLU(), nn.Hardswish(), Squared()]
    no = [nn.Identity(), nn.Dropout(), nn.MaxPool2d(2), nn.Flatten(), nn.Softmax(1), Doubled()]
    no += [nn.InstanceNorm2d(4), nn.AvgPool2d(1), nn.LayerNorm(8, elementwise_affine=False)]
    assert all(is_activation(m) for m in yes)
    assert not any(is_activation(m) for m in no)


# residual blocks


@pytest.mark.parametrize(
    ("build", "ends", "one"),
    [
        (models.resnet18, 8, "layer1.0.bn2.weight"),
        (models.resnet50, 16, "layer4.2.bn3.weight"),
        (models.mobilenet_v2, 10, "features.3.conv.3.weight"),
    ],
)
def test_the_last_gamma_of_each_block_is_zero(build, ends, one):
    model = build()
    report = Residual()(model)
    assert len(report.touched) == ends
    assert one in report.touched
    assert all((model.get_parameter(name) == 0).all() for name in report.touched)
    zero = [n for n, p in model.named_parameters() if p.ndim > 1 and (p == 0).all()]
    assert not zero  # never a convolution before a norm


class Block(nn.Module):
    def __init__(self, norm: bool):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.b(F.relu(self.a(x))))


@pytest.mark.parametrize("norm", [True, False])
def test_a_block_starts_as_the_identity(norm):
    model, x = nn.Sequential(Block(norm), Block(norm)), torch.randn(2, 4, 5, 5)
    Normal(std=0.1)(model)
    assert not torch.allclose(model(x), x)
    report = Residual()(model)
    torch.testing.assert_close(model(x), x)
    last = "norm.weight" if norm else "b.weight"
    assert f"0.{last}" in report.touched


def test_layer_scales_are_left_alone_and_named():
    report = Residual()(models.convnext_tiny())
    assert report.touched == ()
    assert report.left[0][0] == "features.1.0.layer_scale"


def test_a_plain_net_has_no_residual_block():
    with pytest.raises(ModelError, match="no residual block"):
        Residual()(net())


# data-driven


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    kinds = (nn.Linear, nn.Conv2d)
    hooks = [
        m.register_forward_hook(lambda _, __, y: found.append(y))
        for m in model.modules()
        if isinstance(m, kinds)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


def test_lsuv_leaves_every_layer_with_unit_variance():
    layers = [m for _ in range(12) for m in (nn.Linear(40, 40), nn.Tanh())]
    model, x = (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 40), *layers),
        0,
    )
    x = torch.rand(64, 1, 8, 8)
    report = LSUV()(model, x)
    assert report.left == ()
    for y in outputs(model, x):
        assert y.std().item() == pytest.approx(1, abs=1e-3)


def test_lsuv_leaves_batch_norm_and_modes_as_they_were():
    model = net()
    before = {name: b.clone() for name, b in model.named_buffers()}
    LSUV()(model, torch.randn(16, 3, 8, 8))
    assert model.training
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())
    model(torch.randn(16, 3, 8, 8))  # no hook is left
    assert not model[0]._forward_hooks


def test_lsuv_names_what_the_batch_did_not_reach():
    model = Functional()
    model.spare = nn.Linear(2, 2)
    report = LSUV()(model, torch.randn(32, 4))
    assert [name for name, why in report.left if "did not reach" in why] == ["spare.weight"]
    report = LSUV()(net(), torch.zeros(4, 3, 8, 8))
    assert "its output does not vary" in dict(report.left).values()


def test_lsuv_needs_images():
    with pytest.raises(ModelError, match="needs a batch"):
        LSUV()(net())
