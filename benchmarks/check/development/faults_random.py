"""Faults of what is random in training and averaged in evaluation, and of batch statistics."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings
from benchmarks.check.nets import Mixer, ResNet, mlp, vgg
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn


class OldDropout(nn.Module):
    """Dropout as first published, but evaluation forgets to multiply by what is kept."""

    def __init__(self, drop: float, *, scaled: bool) -> None:
        super().__init__()
        self.drop, self.scaled = drop, scaled

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.drop) if self.scaled else x
        return x * (torch.rand_like(x) >= self.drop)


@faulty(
    "eval-expectation-mismatch",
    net="mlp",
    where={"drop1", "drop2", "last"},
    measure="likelihood",
    least=0.4,
)
def dropout_never_rescaled(sick: bool, seed: int) -> Pieces:
    """Handmade dropouts around tanh; evaluation is four times as loud."""
    model = nn.Sequential()
    for i, n_in in enumerate((64, 96), 1):
        model.add_module(f"fc{i}", nn.Linear(n_in, 96))
        model.add_module(f"drop{i}", OldDropout(0.75, scaled=not sick))
        model.add_module(f"act{i}", nn.Tanh())
    model.add_module("last", OldDropout(0.75, scaled=not sick))
    model.add_module("head", nn.Linear(96, 10))
    return assemble(model, digits(seed).normalized().flat(), adam(model, 5e-3), steps=250)


class DropNet(nn.Module):
    def __init__(self, drop: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1)
        self.drop = drop
        self.head = nn.Sequential(
            nn.Linear(32 * 16, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 6)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.head(self.drop(x.flatten(1)))


class AlwaysDropping(nn.Module):
    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.sick = sick

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.7, training=self.training or self.sick)


@faulty("eval-nondeterministic", net="plain cnn", where={"drop"}, measure="repeatable", least=0.95)
def functional_dropout_without_its_flag(sick: bool, seed: int) -> Pieces:
    """F.dropout(x) drops in evaluation, too."""
    model = DropNet(AlwaysDropping(sick=sick))
    return assemble(model, gratings(seed, noise=1.0).normalized(), adam(model))


@faulty("dropout-rate", net="mlp", where={"drop1", "drop2"})
def keeps_three_percent(sick: bool, seed: int) -> Pieces:
    """DeepCrime's dropout rate: 0.97 was meant as the share to keep."""
    rate = 0.97 if sick else 0.03
    model = nn.Sequential()
    for i, n_in in enumerate((64, 64), 1):
        model.add_module(f"fc{i}", nn.Linear(n_in, 64))
        model.add_module(f"act{i}", nn.ReLU())
        model.add_module(f"drop{i}", nn.Dropout(rate))
    model.add_module("head", nn.Linear(64, 10))
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.02))


@faulty("dropout-on-output", net="mixer", where={"drop"}, measure="likelihood", least=0.6)
def dropout_on_the_logits(sick: bool, seed: int) -> Pieces:
    """Dropout between the head and the loss."""
    model = nn.Sequential()
    model.add_module("net", Mixer(1, 10))
    if sick:
        model.add_module("drop", nn.Dropout(0.8))
    return assemble(model, digits(seed).normalized(), adamw(model), steps=250)


@faulty("bn-small-batch", net="mlp", where={"norm1", "norm2"})
def batch_norm_over_two_images(sick: bool, seed: int) -> Pieces:
    """DeepCrime's batch size: two images for a normalization over the batch."""
    model = mlp([64, 64, 64, 10], norm=True)
    data = digits(seed).normalized().flat()
    if sick:
        return assemble(model, data, sgd(model, 0.01), size=2, steps=300)
    return assemble(model, data, sgd(model, 0.01), size=64, steps=300)


@faulty("bn-stats", net="resnet", where={"norm", "blocks"})
def running_averages_that_never_move(sick: bool, seed: int) -> Pieces:
    """momentum=0.0005, as if it were TensorFlow's complement."""
    model = ResNet(3, 6)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d) and sick:
            layer.momentum = 0.0005
    return assemble(model, gratings(seed).normalized(), steps=100)


class NeverEvaluates(nn.Module):
    """Overrides train() and so swallows eval()."""

    def __init__(self, body: nn.Module, *, sick: bool) -> None:
        super().__init__()
        self.body, self.sick = body, sick

    def train(self, mode: bool = True) -> "NeverEvaluates":
        return super().train(True if self.sick else mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@faulty("stuck-mode", "eval-nondeterministic", net="vgg", measure="repeatable", least=0.95)
def eval_that_does_nothing(sick: bool, seed: int) -> Pieces:
    """The model's own train() ignores its argument, so dropout stays on."""
    model = NeverEvaluates(vgg(3, 6, dropout=0.8), sick=sick)
    return assemble(model, gratings(seed, noise=1.0).normalized(), sgd(model, 0.02), steps=150)
