"""Parameter groups, scaling with the batch, averages of weights."""

import pytest
import torch
from torch import nn
from torchvision import models

from goodfit.errors import ModelError, RecipeError, RunError
from goodfit.optim import head_of, layers_of, table
from goodfit.optim.adamw import AdamW
from goodfit.optim.averages import EMA, SWA, recompute_batch_norm
from goodfit.optim.lars import LARS
from goodfit.optim.lookahead import Lookahead
from goodfit.optim.sgd import SGD


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return models.resnet18(num_classes=10)


def decay_of(model: nn.Module) -> dict[str, float]:
    groups = SGD(weight_decay=0.1).groups(model)
    return {name: group.weight_decay for group in groups for name in group.names}


def test_norms_and_biases_do_not_decay(resnet):
    decay = decay_of(resnet)
    assert decay["layer1.0.conv1.weight"] == decay["fc.weight"] == 0.1
    assert decay["layer1.0.bn1.weight"] == decay["layer1.0.bn1.bias"] == decay["fc.bias"] == 0


def test_slopes_layer_scales_and_class_tokens_do_not_decay():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 1, 1))
            self.token = nn.Parameter(torch.zeros(1, 1, 4))
            self.act = nn.PReLU(4)
            self.linear = nn.Linear(4, 1)  # a matrix with one row still decays

    assert [name for name, decay in decay_of(Block()).items() if decay] == ["linear.weight"]


def test_what_a_model_spares_is_spared():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model.no_weight_decay = lambda: {"0.weight"}
    assert decay_of(model)["0.weight"] == 0
    assert decay_of(model)["1.weight"] == 0.1


def test_everything_decays_when_asked():
    groups = SGD(weight_decay=0.1, decay_all=True).groups(models.resnet18())
    assert {group.weight_decay for group in groups} == {0.1}


def test_every_parameter_is_in_exactly_one_group(resnet):
    groups = AdamW(layer_decay=0.8, head_lr=3).groups(resnet)
    found = [name for group in groups for name in group.names]
    assert sorted(found) == sorted(name for name, _ in resnet.named_parameters())


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert {name for group in SGD().groups(model) for name in group.names} == {"1.weight", "1.bias"}
    with pytest.raises(ModelError, match="no parameter to train"):
        SGD()(model.requires_grad_(False))


def test_shared_parameters_are_counted_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    assert sum(len(group.names) for group in SGD().groups(model)) == 3


def test_the_rate_falls_layer_by_layer_towards_the_images(resnet):
    groups = AdamW(lr=1.0, layer_decay=0.5).groups(resnet)
    rate = {name: group.lr for group in groups for name in group.names}
    assert rate["fc.weight"] == 1.0
    assert rate["layer4.1.conv2.weight"] == rate["layer4.1.bn1.bias"] == 0.5
    assert rate["layer4.0.conv1.weight"] == rate["layer4.0.downsample.0.weight"] == 0.25
    assert rate["conv1.weight"] == rate["bn1.weight"] == 0.5**9


def test_the_head_has_its_own_rate(resnet):
    groups = SGD(lr=0.1, head_lr=10).groups(resnet)
    rate = {name: group.lr for group in groups for name in group.names}
    assert rate["fc.weight"] == rate["fc.bias"] == 1.0
    assert rate["layer4.1.conv2.weight"] == 0.1


@pytest.mark.parametrize(
    ("build", "layers", "head"),
    [
        (models.resnet18, 10, "fc"),
        (models.vgg11_bn, 11, "classifier.6"),
        (models.mobilenet_v2, 20, "classifier.1"),
        (models.swin_t, 17, "head"),
        (lambda: nn.Linear(3, 2), 1, ""),
    ],
)
def test_blocks_are_layers(build, layers, head):
    with torch.device("meta"):
        model = build()
    assert max(layers_of(model).values(), default=0) + 1 == layers
    assert head_of(model) == head


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)


class Wrapper(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.before, self.net = nn.Identity(), net


def test_wrappers_are_no_layers():
    for model in (Plain(), Wrapper(Plain()), torch.compile(Wrapper(Plain()), backend="eager")):
        layers = layers_of(model)
        assert list(layers.values()) == [0, 0, 0, 0, 1, 1]
        assert list(layers) == [name for name, _ in model.named_parameters()]


def test_the_table_names_every_group(resnet):
    text = table(SGD(head_lr=2).groups(resnet))
    assert "all layers, norm" in text
    assert "weights of the head" in text
    assert "11,166,912" in text  # all filters


@pytest.mark.parametrize(("scale", "lr"), [("linear", 0.4), ("sqrt", 0.2), ("none", 0.1)])
def test_the_rate_grows_with_the_batch(scale, lr):
    settings = SGD(lr=0.1, scale=scale)
    assert settings.scaled_lr(1024) == pytest.approx(lr)
    stated = settings.for_batch(1024)
    assert (stated.lr, stated.base_batch) == (pytest.approx(lr), 1024)
    assert stated.scaled_lr(1024) == stated.lr


def test_goyals_rate():
    assert SGD(lr=0.1).scaled_lr(8192) == pytest.approx(3.2)


@pytest.mark.parametrize(
    "settings",
    [{"lr": 0}, {"lr": float("nan")}, {"momentum": 1.0}, {"layer_decay": 0}, {"scale": "cubic"}],
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(RecipeError):
        SGD(**settings)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(RecipeError, match="nothing to look ahead"):
        SGD(momentum=0)


def test_lookahead_takes_the_inner_optimizers_defaults():
    assert Lookahead(inner="adamw").lr == AdamW().lr
    assert Lookahead(inner="adamw", lr=0.5).wrapped().lr == 0.5
    with pytest.raises(RecipeError, match="no setting `betas`"):
        Lookahead(inner="sgd", settings={"betas": (0.9, 0.9)})
    with pytest.raises(RecipeError, match="wrap itself"):
        Lookahead(inner="lookahead")


def test_lookahead_evaluates_the_slow_weights():
    model = nn.Linear(1, 1, bias=False)
    optimizer = Lookahead(
        lr=1.0, settings={"momentum": 0.0, "nesterov": False}, sync_every=2, weight_decay=0.0
    )(model)
    start = model.weight.item()
    for _ in range(3):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
    with optimizer.swapped():
        assert model.weight.item() == pytest.approx(start - 1)  # half of two steps
    assert model.weight.item() == pytest.approx(start - 2)  # and one step ahead of it


def test_lars_takes_plain_steps_on_biases():
    model = nn.Linear(2, 1)
    optimizer = LARS(lr=0.5)(model)
    bias = model.bias.item()
    model(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    assert model.bias.item() == pytest.approx(bias - 0.5)


def test_a_schedule_of_torch_drives_them():
    model = nn.Linear(2, 1)
    optimizer = Lookahead(lr=1.0)(model)
    lr = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: 1 / (1 + i))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    lr.step()
    assert {group["lr"] for group in optimizer.fast.param_groups} == {0.5}


# averages


def norm_net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def test_swapping_the_average_in_and_out_leaves_the_model_alone():
    model, average = norm_net(), EMA(decay=0.5)
    average.update(model)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    average.update(model)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with average.swapped(model):
        assert not torch.equal(model[0].weight, before["0.weight"])
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_the_first_updates_of_an_ema_forget_the_beginning():
    model, average = nn.Linear(1, 1, bias=False), EMA(decay=0.999)
    for value in [0.0] + [1.0] * 30:
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(model)
    assert average.average["weight"].item() > 0.99  # 0.03 without the ramp


def test_an_ema_goes_on_after_compiling_and_resuming():
    model, average = norm_net(), EMA()
    average.update(model)
    compiled = torch.compile(model, backend="eager")
    assert any(name.startswith("_orig_mod.") for name in compiled.state_dict())
    average.update(compiled)
    again = EMA()
    again.load_state_dict(average.state_dict())
    average.update(compiled)
    again.update(model)
    assert again.count == 3
    for name, t in average.average.items():
        assert torch.equal(t, again.average[name])


def test_an_average_of_another_model_is_refused():
    average = EMA()
    average.update(nn.Linear(2, 2))
    with pytest.raises(RunError, match="another model"):
        average.update(nn.Sequential(nn.Linear(2, 2)))


def test_swa_insists_on_batch_norm_of_its_own():
    model, average = norm_net(), SWA()
    average.update(model)
    with pytest.raises(ModelError, match="no batch norm statistics"), average.swapped(model):
        pass
    average.settle(model, [torch.randn(8, 3)])
    with average.swapped(model):
        pass


def test_batch_norm_is_recomputed_as_the_mean_over_batches():
    model = norm_net()
    model.train()
    batches = [torch.randn(16, 3) + i for i in range(3)]
    assert recompute_batch_norm(model, batches) == 3
    with torch.no_grad():
        hidden = [model[0](batch) for batch in batches]
    torch.testing.assert_close(
        model[1].running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0)
    )
    torch.testing.assert_close(
        model[1].running_var, torch.stack([h.var(0) for h in hidden]).mean(0)
    )
    assert model.training
    assert model[1].momentum == 0.1
    with pytest.raises(ModelError, match="no batches"):
        recompute_batch_norm(model, [])
