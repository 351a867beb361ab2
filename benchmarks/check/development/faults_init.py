"""Faults of initialization and activations."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings
from benchmarks.check.nets import (
    NormFree,
    PlainCNN,
    ResNet,
    ViT,
    lecun,
    mlp,
    selu_net,
    vgg,
)
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn


def normal(model: nn.Module, std: float) -> None:
    """All weights of linear layers and convolutions from N(0, std), all biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@faulty("symmetric-init", net="mlp", where={"fc1", "fc2"})
def all_weights_equal(sick: bool, seed: int) -> Pieces:
    """Both hidden layers start at one constant."""
    model = mlp([64, 48, 48, 10])
    if sick:
        for name in ("fc1", "fc2"):
            nn.init.constant_(model.get_submodule(name).weight, 0.05)
            nn.init.zeros_(model.get_submodule(name).bias)
    return assemble(model, digits(seed).normalized().flat(), sgd(model))


@faulty("symmetric-init", "signal-vanishing", net="plain cnn", where={"conv1", "conv2", "conv3"})
def all_convolutions_zero(sick: bool, seed: int) -> Pieces:
    """Every convolution starts at zero."""
    model = PlainCNN(3, 6)
    if sick:
        for conv in (model.conv1, model.conv2, model.conv3):
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
    return assemble(model, gratings(seed).normalized(), adam(model), steps=250)


@faulty("signal-vanishing", "gradient-vanishing", net="mlp", least=0.8)
def ten_layers_of_small_weights(sick: bool, seed: int) -> Pieces:
    """N(0, 0.01) in ten tanh layers: nothing arrives at the head."""
    model = mlp([64, *[64] * 9, 10], nn.Tanh)
    normal(model, 0.01) if sick else lecun(model)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.02), steps=200)


@faulty("signal-exploding", "gradient-exploding", net="plain cnn", least=0.75)
def weights_of_deviation_one(sick: bool, seed: int) -> Pieces:
    """N(0, 1) in every convolution."""
    model = PlainCNN(3, 6)
    if sick:
        normal(model, 1.0)
    return assemble(model, gratings(seed).normalized(), adam(model), steps=200)


@faulty("signal-exploding", "gradient-exploding", net="norm-free", least=0.75)
def branches_four_times_too_loud(sick: bool, seed: int) -> Pieces:
    """Eight norm-free blocks whose branches each multiply the variance by about seventeen."""
    model = NormFree(3, 6, depth=8, gain=4.0 if sick else 0.2)
    return assemble(model, gratings(seed).normalized(), adam(model), steps=120)


@faulty("initial-loss-off", net="mlp", where={"head"})
def a_loud_head(sick: bool, seed: int) -> Pieces:
    """The head's weights are 150 times too large."""
    model = mlp([64, 64, 10])
    if sick:
        with torch.no_grad():
            model.get_submodule("head").weight.mul_(150)
    return assemble(model, digits(seed).normalized().flat(), adam(model, 1e-3))


@faulty("dead-units", net="mlp", where={"act2", "fc2"})
def bias_that_shuts_the_units(sick: bool, seed: int) -> Pieces:
    """A bias of -6 in the second layer keeps its ReLUs at zero."""
    model = mlp([64, 64, 64, 10])
    if sick:
        nn.init.constant_(model.get_submodule("fc2").bias, -6.0)
    return assemble(model, digits(seed).normalized().flat(), sgd(model))


@faulty("dead-units", net="plain cnn", where={"act1", "act2", "conv1", "conv2"})
def most_channels_dead(sick: bool, seed: int) -> Pieces:
    """All but two channels of two layers were shut by an earlier run at too high a rate."""
    model = PlainCNN(3, 6)
    if sick:
        for conv in (model.conv1, model.conv2):
            nn.init.constant_(conv.bias[1:], -20.0)
    return assemble(model, gratings(seed).normalized(), adam(model, 1e-3), steps=250)


@faulty("saturated-units", "signal-exploding", net="mlp", where={"act1", "act2", "fc1", "fc2"})
def tanh_at_its_ends(sick: bool, seed: int) -> Pieces:
    """N(0, 1) before tanh: all units sit at plus or minus one."""
    model = mlp([64, 64, 64, 10], nn.Tanh)
    if sick:
        nn.init.normal_(model.get_submodule("fc1").weight, std=2.0)
        nn.init.normal_(model.get_submodule("fc2").weight, std=2.0)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.03), steps=100)


@faulty("saturated-units", net="vit", where={"blocks"}, least=0.7)
def attention_without_its_scale(sick: bool, seed: int) -> Pieces:
    """Queries and keys are twelve times too large, so attention is one-hot from the start."""
    model = ViT(1, 10)
    if sick:
        with torch.no_grad():
            for block in model.blocks:
                block.attention.qkv.weight[:64].mul_(12)
    return assemble(model, digits(seed).normalized(), adamw(model, 1e-3), steps=200)


@faulty("no-nonlinearity", net="plain cnn", least=0.75)
def activations_removed(sick: bool, seed: int) -> Pieces:
    """DeepCrime's removal: no activation between the convolutions."""
    model = PlainCNN(3, 6, act=nn.Identity if sick else nn.ReLU)
    return assemble(model, gratings(seed).normalized(), adam(model), steps=200)


@faulty("constant-output", "no-gradient", net="mlp", where={"norm", "squeeze", "head"})
def normalized_over_one_feature(sick: bool, seed: int) -> Pieces:
    """LayerNorm over a single feature is a constant."""
    width = 1 if sick else 32
    model = nn.Sequential()
    model.add_module("fc", nn.Linear(64, 64))
    model.add_module("act", nn.ReLU())
    model.add_module("squeeze", nn.Linear(64, width))
    model.add_module("norm", nn.LayerNorm(width))
    model.add_module("head", nn.Linear(width, 10))
    return assemble(model, digits(seed).normalized().flat(), sgd(model))


@faulty("gradient-vanishing", "signal-vanishing", "saturated-units", net="mlp")
def fifteen_sigmoids(sick: bool, seed: int) -> Pieces:
    """DeepCrime's change of activation: sigmoid in a deep net."""
    act = nn.Sigmoid if sick else nn.SELU
    model = mlp([64, *[48] * 14, 10], act)
    if not sick:
        lecun(model)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=200)


@faulty("gradient-exploding", "signal-exploding", "saturated-units", net="selu", least=0.8)
def selu_with_kaiming_and_gain_three(sick: bool, seed: int) -> Pieces:
    """A self-normalizing net whose weights are three times too large."""
    model = selu_net(64, 10, depth=10)
    if sick:
        with torch.no_grad():
            for layer in list(model)[:-1]:
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(3)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=200)


class RootOfEnergy(nn.Module):
    """Channel energies: the root's slope at zero is infinite."""

    def __init__(self, *, safe: bool) -> None:
        super().__init__()
        self.floor = 1e-6 if safe else 0.0

    def forward(self, x: Tensor) -> Tensor:
        loud = (x > 2).float() * x
        return (loud.square().mean((2, 3)) + self.floor).sqrt()


class EnergyCNN(nn.Module):
    def __init__(self, *, safe: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.energy = RootOfEnergy(safe=safe)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv1(x)))
        return self.head(self.energy(self.bn2(self.conv2(x))))


@faulty("gradient-nonfinite", net="plain cnn", where={"energy", "conv2", "bn2", "conv1", "bn"})
def root_of_zero(sick: bool, seed: int) -> Pieces:
    """A square root of energies that are exactly zero for some images."""
    model = EnergyCNN(safe=not sick)
    return assemble(model, gratings(seed).normalized(), adam(model, 5e-3), steps=150)


class Detaching(ResNet):
    """Forgets that features must carry gradients."""

    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = self.blocks(x).mean((2, 3))
        return self.head(x.detach() if self.sick else x)


@faulty("no-gradient", net="resnet", where={"stem", "norm", "blocks"})
def features_detached(sick: bool, seed: int) -> Pieces:
    """A `.detach()` left over from a debugging session."""
    model = Detaching(3, 6)
    model.sick = sick
    return assemble(model, gratings(seed).normalized(), sgd(model), steps=100)


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.round(4 * x) / 4


@faulty("no-gradient", net="vgg", where={"features"})
def features_rounded(sick: bool, seed: int) -> Pieces:
    """Quantization without a straight-through gradient."""
    model = vgg(3, 6)
    if sick:
        model.features.add_module("rounded", Rounded())
    return assemble(model, gratings(seed).normalized(), sgd(model, 0.02), steps=100)
