"""Healthy programs whose net looks odd."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings, seeded, shapes
from benchmarks.check.nets import (
    MobileNet,
    NormFree,
    PlainCNN,
    ResNet,
    ViT,
    mlp,
    selu_net,
    vgg,
)
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from torch import Tensor, nn


@healthy(net="mobilenet")
def squeeze_and_excite(seed: int) -> Pieces:
    """Gates after ReLUs, depthwise convolutions, hard swish."""
    model = MobileNet(3, 5)
    return assemble(model, shapes(seed).normalized(), adam(model, 4e-3), steps=150)


@healthy(net="mobilenet", least=0.75)
def slow_batch_norm(seed: int) -> Pieces:
    """MobileNetV3's momentum of 0.01: evaluation lags for hundreds of steps."""
    model = MobileNet(3, 6, momentum=0.01)
    return assemble(model, gratings(seed).normalized(), adam(model, 3e-3), steps=400)


@cache
def _pretrained(make: Callable[[], nn.Module], seed: int) -> dict[str, Tensor]:
    """Weights of a net trained on gratings of other colors and pitches."""
    state = torch.random.get_rng_state()
    model = make()
    train(assemble(model, gratings(seed + 50).normalized(), adam(model, 3e-3), steps=120))
    torch.random.set_rng_state(state)
    return {k: v.clone() for k, v in model.state_dict().items()}


def small_resnet() -> nn.Module:
    return ResNet(3, 6)


def small_cnn() -> nn.Module:
    return PlainCNN(3, 6)


@healthy(net="resnet")
def frozen_backbone(seed: int) -> Pieces:
    """A trained backbone is frozen on purpose; the optimizer has the new head only."""
    model = ResNet(3, 6)
    model.load_state_dict(_pretrained(small_resnet, seed))
    model.requires_grad_(False)
    model.head = nn.Linear(32, 6)
    return assemble(model, gratings(seed).normalized(), adam(model.head, 1e-2), steps=100)


@healthy(net="plain cnn")
def fine_tuning(seed: int) -> Pieces:
    """Pretrained weights and a fresh head that learns ten times as fast."""
    model = PlainCNN(3, 6)
    model.load_state_dict(_pretrained(small_cnn, seed))
    model.head.reset_parameters()
    head = set(model.head.parameters())
    body = [p for p in model.parameters() if p not in head]
    groups = [{"params": body, "lr": 2e-4}, {"params": list(head), "lr": 1e-2}]
    optimizer = torch.optim.AdamW(groups)
    return assemble(model, gratings(seed).normalized(), optimizer, steps=100)


@healthy(net="plain cnn", least=0.9)
def resumed_with_silent_units(seed: int) -> Pieces:
    """Training goes on from a good net in which a third of the units is silent."""
    model = PlainCNN(3, 6, width=24)
    data = gratings(seed).normalized()
    train(assemble(model, data, adam(model, 4e-3), steps=120))
    third = torch.randperm(48, generator=seeded(seed))[:16]
    with torch.no_grad():
        model.conv3.bias[third] = -3.0
    return assemble(model, data, adam(model, 1e-3), steps=80)


class GroupNormCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(8, 32)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm1(self.conv1(x)))
        return self.head(F.silu(self.norm2(self.conv2(x))).mean((2, 3)))


@healthy(net="plain cnn")
def group_norm_with_batch_two(seed: int) -> Pieces:
    """Two images a step are enough for group normalization."""
    model = GroupNormCNN()
    return assemble(model, gratings(seed).normalized(), adam(model, 1e-3), size=2, steps=900)


@healthy(net="resnet")
def zero_head_and_zero_gammas(seed: int) -> Pieces:
    """The net starts as the zero function: every block is the identity, the head is zero."""
    model = ResNet(3, 6, zero_gamma=True)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return assemble(model, gratings(seed).normalized(), adam(model, 3e-3), steps=200)


@healthy(net="selu")
def selu_with_alpha_dropout(seed: int) -> Pieces:
    """A self-normalizing net; its dropout shifts and scales."""
    model = selu_net(64, 10, depth=6, drop=0.1)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=200)


@healthy(net="norm-free", least=0.75)
def branches_that_start_at_zero(seed: int) -> Pieces:
    """SkipInit: the gains of all branches are zero, so their weights get no gradient at first."""
    model = NormFree(3, 6, depth=6)
    return assemble(model, gratings(seed).normalized(), sgd(model), steps=150)


@healthy(net="mlp")
def softmax_regression(seed: int) -> Pieces:
    """One linear layer; nothing between input and logits, on purpose."""
    model = nn.Linear(64, 10)
    return assemble(model, digits(seed).normalized().flat(), sgd(model))


@healthy(net="vgg")
def half_of_the_features_dropped(seed: int) -> Pieces:
    """VGG's dropout of one half before the last layer."""
    model = vgg(3, 6, dropout=0.5)
    return assemble(model, gratings(seed).normalized(), sgd(model, 0.02), steps=120)


@healthy(net="vit", least=0.75)
def vision_transformer(seed: int) -> Pieces:
    """Class token, pre-normalization, AdamW, small images."""
    model = ViT(1, 10)
    return assemble(model, digits(seed).normalized(), adamw(model, 2e-3), steps=250)


class Outputs(NamedTuple):
    logits: Tensor
    aux: Tensor


class WithAuxiliary(ResNet):
    def __init__(self) -> None:
        super().__init__(3, 6)
        self.aux = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Outputs:
        x = F.relu(self.norm(self.stem(x)))
        y = self.blocks(x).mean((2, 3))
        return Outputs(self.head(y), self.aux(x.mean((2, 3))))


def with_auxiliary(out: Outputs, y: Tensor) -> Tensor:
    return F.cross_entropy(out.logits, y) + 0.3 * F.cross_entropy(out.aux, y)


@healthy(net="resnet")
def auxiliary_head(seed: int) -> Pieces:
    """The model returns two outputs and the loss adds both."""
    return assemble(
        WithAuxiliary(),
        gratings(seed).normalized(),
        loss=with_auxiliary,
        logits=lambda out: out.logits,
        steps=100,
    )


@healthy(net="mlp")
def ten_tanh_layers(seed: int) -> Pieces:
    """Tanh units in ten layers with the right gain."""
    model = mlp([64, *[64] * 9, 10], nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=150)
