"""The audit: what it must flag, what it must not, and that it leaves no trace.

False alarms: every audit here has false_alarm = 0.01 and a fixed seed.
"""

import copy
import random
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import goodfit as gf
from goodfit.audit import Audit, audit, audit_augment
from goodfit.audit._finding import holm
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.batch import Batch
from goodfit.errors import DataError, ModelError
from goodfit.layers.alpha_dropout import AlphaDropout
from goodfit.layers.batch_norm import precise_batch_norm
from goodfit.layers.drop_connect import DropConnect
from goodfit.layers.dropout import Dropout, DropoutInsertion
from goodfit.layers.fractional_max_pool import FractionalMaxPool2d
from goodfit.layers.stochastic_depth import StochasticDepth
from goodfit.layers.vanilla_dropout import VanillaDropout
from goodfit.models.cnn import CNN
from goodfit.recipe.recipe import Recipe

DRAWS = 128


def around(layer: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    for module in layer.modules():  # the tables below are made when this file is imported
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return nn.Sequential(nn.Linear(16, 16), layer, nn.Linear(16, 5))


def vectors(count: int = 32) -> Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(1))


def verdict(found: Audit, where: str = "1") -> str:
    [finding] = [f for f in found.findings if f.where == where]
    return finding.verdict


class Unscaled(nn.Module):
    """Vanilla dropout of which testing does not know."""

    def __init__(self, prob: float) -> None:
        super().__init__()
        self.prob = prob

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.prob) if self.training else x


class AlwaysOn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.3)


class OwnGenerator(nn.Module):
    """Random without touching the global state."""

    def __init__(self, noise_in_eval: bool) -> None:
        super().__init__()
        self.generator, self.noise_in_eval = torch.Generator(), noise_in_eval

    def forward(self, x: Tensor) -> Tensor:
        on = self.training or self.noise_in_eval
        return x + 0.1 * torch.randn(x.shape, generator=self.generator) if on else x


class Numpys(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (2 * np.random.random()) if self.training else x


class Functional(nn.Module):
    """Dropout as a function between layers, right and behind a nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.gelu(F.dropout(self.first(x), 0.5, self.training)))


class Masked(nn.Module):
    """Masks as functions between layers of one forward, each scaled by its factor in training."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        sizes = 1 + len(factors)
        self.layers, self.factors = nn.ModuleList(nn.Linear(16, 16) for _ in range(sizes)), factors

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layers[0](x))
        for layer, factor in zip(self.layers[1:], self.factors, strict=True):
            x = torch.relu(layer(x * (torch.rand_like(x) < 0.8) * factor if self.training else x))
        return x


class SparseWeights(nn.Module):
    """DropConnect by one mask for the batch."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(16, 16), factor

    def forward(self, x: Tensor) -> Tensor:
        weight = self.linear.weight
        if self.training:
            weight = weight * (torch.rand_like(weight) < 0.8) * self.factor
        return F.linear(x, weight, self.linear.bias)


class Depth(nn.Module):
    """A residual block; `train` and `test` say what its branch is multiplied by when kept."""

    def __init__(self, train: float, test: float, keep: float = 0.7, relu: bool = False) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.factors, self.keep, self.relu = (train, test), keep, relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if self.training:
            y = y * (torch.rand(len(x), 1) < self.keep) * self.factors[0]
        else:
            y = y * self.factors[1]
        return torch.relu(x + y) if self.relu else x + y


class DoubleDepth(nn.Module):
    """A right layer, and a block that scales once more in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.depth = nn.Linear(16, 16), StochasticDepth(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(self.branch(x))
        return x + (y if self.training else 0.7 * y)


class Lazily(nn.Module):
    """Stochastic depth that forgot to scale, as one layer."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1) < 0.8) if self.training else x


WRONG = {
    "vanilla dropout unscaled at test, 0.1": Unscaled(0.1),
    "vanilla dropout unscaled at test, 0.5": Unscaled(0.5),
    "dropout always on": AlwaysOn(),
    "a mask unscaled in a forward, layers and ReLU behind": Masked(1),
    "a mask scaled twice in a forward, behind a right one": Masked(1 / 0.8, 1 / 0.64),
    "dropconnect unscaled at test, a bias behind": SparseWeights(1),
    "noise of its own generator in evaluation": OwnGenerator(noise_in_eval=True),
    "stochastic depth never scaled, layer": Lazily(),
    "stochastic depth never scaled": Depth(1, 1),
    "stochastic depth never scaled, ReLU behind": Depth(1, 1, relu=True),
    "stochastic depth scaled twice": Depth(1 / 0.7, 0.7),
    "stochastic depth scaled twice, ReLU behind": Depth(1 / 0.7, 0.7, relu=True),
    "stochastic depth scaled twice, by the block": DoubleDepth(),
}
RIGHT = {
    "dropout": Dropout(0.5),
    "torch dropout": nn.Dropout(0.1),
    "rare dropout": nn.Dropout(0.001),
    "vanilla dropout": VanillaDropout(0.3),
    "depth": StochasticDepth(0.3),
    "rare depth": StochasticDepth(0.003),
    "depth scaled in training": Depth(1 / 0.7, 1),
    "depth scaled at test": Depth(1, 0.7),
    "random slopes": nn.RReLU(),
    "dropconnect": DropConnect(nn.Linear(16, 16)),
    "right masks in a forward, layers and ReLU behind": Masked(1 / 0.8, 1 / 0.8),
    "dropconnect by one mask for the batch": SparseWeights(1 / 0.8),
    "noise of its own generator": OwnGenerator(noise_in_eval=False),
    "numpy noise": Numpys(),
    "switched off": nn.Dropout(0.0),
}
BENT = {
    "function before gelu": Functional(),
    "depth before relu": Depth(1 / 0.7, 1, relu=True),
    "alpha dropout": AlphaDropout(0.1),
    "torch alpha dropout": nn.AlphaDropout(0.1),
}


@pytest.mark.parametrize("name", WRONG)
def test_faults_are_flagged_where_they_are(name):
    found = audit(around(WRONG[name]), vectors())
    assert not found.ok
    assert [f.where for f in found.wrong] == ["1"]
    assert all(f.fix for f in found.wrong)


@pytest.mark.parametrize("name", RIGHT)
def test_right_layers_are_exact(name):
    found = audit(around(RIGHT[name]), vectors(), draws=DRAWS)
    assert found.ok, str(found)
    if name != "switched off":
        assert verdict(found) == "exact"


@pytest.mark.parametrize("name", BENT)
def test_averages_behind_nonlinearities_are_approximate(name):
    found = audit(around(BENT[name]), vectors())
    assert found.ok, str(found)
    assert verdict(found) == "approximate"


def test_a_fault_within_a_forward_is_told_with_the_layer_that_reads_it():
    [fault] = audit(around(Masked(1 / 0.8, 1)), vectors(), draws=DRAWS).wrong
    assert fault.seen["compared"] == "what layers.2 reads"
    assert fault.gap.value == pytest.approx(-0.2, abs=0.01)


@pytest.mark.parametrize("seed", [3, 16, 24])
def test_values_that_a_relu_cut_to_zero_say_nothing_about_the_branch(seed):
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed))
    for factors, ok in (((1 / 0.7, 1), True), ((1, 1), False)):
        layer = Depth(*factors, relu=True)
        found = audit(around(layer), x)
        assert found.ok == ok, str(found)


def test_random_pooling_in_evaluation_is_flagged_and_ours_is_not():
    x = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    head = nn.Flatten(), nn.LazyLinear(4)
    torchs = nn.Sequential(nn.FractionalMaxPool2d(2, output_ratio=0.7), *head)
    torchs(x)
    [fault] = audit(torchs, x, draws=DRAWS).wrong
    assert (fault.where, fault.kind) == ("0", "FractionalMaxPool2d")
    assert "another output for the same input" in str(fault)
    ours = nn.Sequential(FractionalMaxPool2d(), nn.Flatten(), nn.LazyLinear(4))
    ours(x)
    found = audit(ours, x, draws=DRAWS)
    assert found.ok
    assert verdict(found, "0") == "exact"


def test_right_nets_are_called_wrong_no_more_often_than_stated():
    """25 audits at false_alarm = 0.2: more than 13 alarms have probability below 1e-4."""
    alarms = 0
    for seed in range(25):
        model = nn.Sequential(nn.Dropout(0.3), nn.Linear(16, 8), StochasticDepth(0.4))
        alarms += not audit(model, vectors(8), draws=25, false_alarm=0.2, seed=seed).ok
    assert alarms <= 13


def convnet() -> nn.Sequential:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    return nn.Sequential(*conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def photos(count: int, seed: int) -> Tensor:
    """Images with brightness and contrast of their own, as photographs have."""
    g = torch.Generator().manual_seed(seed)
    level = torch.rand(count, 3, 1, 1, generator=g)
    return level + torch.rand(count, 1, 1, 1, generator=g) * torch.randn(
        count, 3, 12, 12, generator=g
    )


@cache
def trained_once() -> nn.Sequential:
    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(60):
        x = photos(32, seed=step)
        F.cross_entropy(model(x), (x.mean((1, 2, 3)) * 4).long().clamp(0, 3)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_running_statistics_that_are_off_are_flagged():
    model = copy.deepcopy(trained_once())
    model[4].reset_running_stats()
    model[4].num_batches_tracked.fill_(60)
    found = audit(model, photos(64, seed=99))
    assert [f.where for f in found.wrong] == ["4"]
    assert "precise_batch_norm" in found.wrong[0].fix
    precise_batch_norm(model, [photos(64, seed=s) for s in range(5)])
    assert audit(model, photos(64, seed=99)).ok


@pytest.mark.parametrize("seed", range(8))
def test_running_statistics_of_a_trained_net_are_approximate(seed):
    found = audit(trained_once(), photos(32, seed=1000 + seed))
    assert found.ok, str(found)
    assert verdict(found) == verdict(found, "4") == "approximate"


def test_new_and_frozen_norms_are_said_to_be_so():
    found = audit(convnet(), photos(16, seed=0))
    assert "has seen no batch yet" in str(found)

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Sequential:
            super().train(mode)
            self[1].eval()
            return self

    frozen = audit(Frozen(*convnet()), photos(16, seed=0))
    assert verdict(frozen, "1") == "exact"


def test_nothing_of_the_model_or_the_random_states_changes():
    model = nn.Sequential(*trained_once(), nn.Dropout(0.5), OwnGenerator(noise_in_eval=False))
    model[1].eval()
    seen = []
    model[0].register_forward_hook(lambda m, args, out: seen.append(len(out)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    own = model[-1].generator.get_state()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    audit(model, photos(8, seed=0), draws=20)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == hooks
    assert torch.equal(model[-1].generator.get_state(), own)
    assert all(p.grad is None or p.requires_grad for p in model.parameters())


def test_nets_that_return_more_in_training_are_fine():
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.drop, self.head = nn.Linear(16, 8), nn.Dropout(0.5), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
            y = self.head(self.drop(self.body(x)))
            return (y, 2 * y) if self.training else y

    found = audit(Auxiliary(), vectors())
    assert found.ok
    assert verdict(found, "drop") == "exact"


def test_half_precision_is_no_fault():
    model = around(nn.Dropout(0.3)).bfloat16()
    assert audit(model, vectors().bfloat16(), draws=DRAWS).ok


def test_batches_of_ours_and_pairs_are_taken_and_misfits_refused():
    x = vectors(8)
    batch = Batch(x, torch.eye(8), torch.arange(8))
    model = around(nn.Dropout(0.5))
    assert audit(model, batch, draws=20) == audit(model, (x, 0), draws=20)
    with pytest.raises(ModelError, match="cannot be audited"):
        audit(model, torch.randn(4, 7))


def test_the_report_names_faults_in_full_and_sums_up_the_rest():
    text = str(audit(around(nn.Sequential(Unscaled(0.5), nn.Dropout(0.5))), vectors()))
    assert text.startswith("wrong[eval-expectation]\n  at         1.0\n")
    assert "exact       Dropout, 1.1; largest gap" in text
    assert text.endswith("3 random parts, 1 wrong (false alarm at most 1%)")
    assert str(audit(nn.Linear(16, 2), vectors())) == "nothing random was found"


def test_holm_rejects_in_steps():
    assert holm([0.001, 0.04, 0.012, 0.2], 0.05) == [True, False, True, False]
    assert holm([0.02, 0.02], 0.03) == [False, False]
    assert holm([], 0.01) == []


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_torchvision_nets_are_right(name):
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.get_model(name, num_classes=5)
    assert audit(model, torch.randn(4, 3, 32, 32), draws=40).ok


def test_timm_nets_are_right():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    rates = {"drop_rate": 0.1, "drop_path_rate": 0.2, "attn_drop_rate": 0.1, "proj_drop_rate": 0.1}
    size = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=5, **rates, **size)
    found = audit(model, torch.randn(8, 3, 32, 32), draws=DRAWS)
    assert found.ok, str(found)
    assert {"Attention", "DropPath", "Dropout"} <= {f.kind for f in found.findings}


class HalfFlip(Flip):
    """Says that it flips half of the images, but shows only the plain view at test."""

    def views(self, batch: Batch) -> list[tuple[float, Batch]]:
        return [(0.9, batch), (0.1, self.given(batch, None))]


def test_augmentations_are_compared_with_what_testing_uses():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    images = torch.rand(16, 3, 4, 4)
    batch = Batch(images, torch.eye(3)[torch.arange(16) % 3], torch.arange(16))
    found = audit_augment(model, [Flip()], batch, draws=64)
    assert [f.verdict for f in found.findings] == ["exact"]
    assert not audit_augment(model, [HalfFlip()], batch, draws=64).ok


def test_a_recipe_is_audited_with_its_layers_and_its_augmentations():
    recipe = Recipe(
        model=CNN(widths=(4, 4)), layers=(DropoutInsertion(),), augment=(Flip(), Cutout())
    )
    images = torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8)
    found = gf.audit(recipe, (images, torch.arange(16) % 3), draws=20)
    assert found.ok, str(found)
    verdicts = {finding.kind: finding.verdict for finding in found.findings}
    assert verdicts["Dropout"] == "exact"
    assert {f.where for f in found.findings if f.kind == "augmentation"} == {
        *("flip", "cutout", "all together")
    }


@pytest.mark.parametrize("given", [[1], torch.zeros(3), None])
def test_a_recipe_needs_a_batch_of_images(given):
    with pytest.raises(DataError, match="batch of training images"):
        gf.audit(Recipe(), given)
