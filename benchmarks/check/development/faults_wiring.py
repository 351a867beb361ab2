"""Faults of how modules are put together."""

import itertools

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings, shapes
from benchmarks.check.nets import PlainCNN, ResNet
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn


class SkipsItsBlocks(ResNet):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        y = self.blocks(x) if not self.sick else torch.cat([x, x], 1)
        return self.head(y.mean((2, 3)))


@faulty("unused-parameters", net="resnet", where={"blocks"})
def blocks_never_called(sick: bool, seed: int) -> Pieces:
    """The forward pass goes around the residual blocks."""
    model = SkipsItsBlocks(3, 5)
    model.sick = sick
    return assemble(model, shapes(seed).normalized(), adam(model, 3e-3), steps=120)


class ListedCNN(nn.Module):
    """Keeps its layers in a list; only an nn.ModuleList registers them."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        widths = [3, 16, 32, 32]
        layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths)]
        self.layers = layers if sick else nn.ModuleList(layers)
        self.head = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x.mean((2, 3)))


@faulty("unregistered-modules", "params-not-optimized", net="plain cnn", where={"layers"})
def layers_in_a_list(sick: bool, seed: int) -> Pieces:
    """Convolutions in a plain Python list never reach the optimizer."""
    model = ListedCNN(sick=sick)
    return assemble(model, gratings(seed).normalized(), adam(model), steps=200)


class BatchCentered(PlainCNN):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)
        return self.head(h - h.mean(0, keepdim=True) if self.sick else h)


@faulty("batch-leakage", net="plain cnn", measure="alone", least=0.75)
def features_centered_over_the_batch(sick: bool, seed: int) -> Pieces:
    """The batch's mean is subtracted in evaluation, too; one image alone is all zero."""
    model = BatchCentered(3, 6)
    model.sick = sick
    return assemble(model, gratings(seed).normalized(), adam(model), steps=200)


class SwappedAxes(nn.Module):
    """Tokens and images change places before attention, unless it is told that batches lead."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 32, 2, 2)
        self.place = nn.Parameter(0.1 * torch.randn(1, 16, 32))
        self.attention = nn.MultiheadAttention(32, 4, batch_first=batch_first)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head((x + self.mlp(x)).mean(1))


@faulty("batch-leakage", net="vit", where={"attention"}, measure="alone")
def attention_across_images(sick: bool, seed: int) -> Pieces:
    """MultiheadAttention without batch_first attends to the other images."""
    model = SwappedAxes(batch_first=not sick)
    return assemble(model, digits(seed).normalized(), adamw(model), steps=250)


def unit() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())


@faulty("shared-parameters", net="plain cnn", where={"body"})
def five_times_the_same_layer(sick: bool, seed: int) -> Pieces:
    """[unit()] * 5 is one convolution and one batch norm, five times."""
    body = [unit()] * 5 if sick else [unit() for _ in range(5)]
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(3, 16, 3, 2, 1))
    model.add_module("body", nn.Sequential(*body))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(16, 6))
    return assemble(model, gratings(seed).normalized(), sgd(model), steps=120)
