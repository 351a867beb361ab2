"""Fresh: faults of the loss, the optimizer, and of what differs between training and use."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.fresh.data import (
    disks,
    large_digits,
    rings,
    sectors,
    standardized,
    textures,
    tumors,
)
from benchmarks.check.fresh.nets import (
    BottleneckNet,
    LeNet,
    MobileV1,
    SeluConv,
    SmallMixer,
    SmallViT,
    TableNet,
    TableResNet,
    VggBn,
)
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn
from torch.optim import SGD, AdamW, RMSprop


class Ending(nn.Module):
    def __init__(self, net: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.net, self.last = net, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.net(x))


@faulty("output-activation", net="mlp", measure="likelihood", least=0.5, where={"last"})
def nll_of_plain_softmax(sick: bool, seed: int) -> Pieces:
    """NLLLoss wants log-probabilities and gets probabilities."""
    model = Ending(TableNet(20, 6), nn.Softmax(1) if sick else nn.LogSoftmax(1))
    return assemble(model, sectors(seed), adam(model, 4e-3), loss=F.nll_loss, steps=200)


@faulty("output-activation", net="mobilenet", measure="likelihood", least=0.6, where={"last"})
def tanh_on_the_logits(sick: bool, seed: int) -> Pieces:
    """DeepCrime's added activation: tanh after the classifier."""
    model = Ending(MobileV1(3, 5), nn.Tanh() if sick else nn.Identity())
    return assemble(model, textures(seed).normalized(), adam(model, 4e-3), steps=120)


@faulty("output-width", "labels-invalid", net="mlp", least=0.85, where={"decide", "class 1"})
def one_output_for_two_classes(sick: bool, seed: int) -> Pieces:
    """A single output, as for a logistic loss, under cross-entropy."""
    model = TableNet(30, 1 if sick else 2)
    return assemble(model, standardized(tumors(seed)), sgd(model, 0.02), size=34, steps=80)


@faulty("loss-reduction", net="norm-free", least=0.7)
def summed_over_two_hundred_rows(sick: bool, seed: int) -> Pieces:
    """reduction="sum" over batches of 180, at the rate for a mean."""
    model = TableResNet(12, 3, gain=0.2)
    loss = nn.CrossEntropyLoss(reduction="sum" if sick else "mean")
    return assemble(model, rings(seed), sgd(model), loss=loss, size=180, steps=250)


def divided(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y) / (len(y) * len(y))


@faulty("loss-reduction", "lr-too-low", net="plain cnn", least=0.7)
def divided_by_the_batch_again(sick: bool, seed: int) -> Pieces:
    """The mean is divided by the size of the batch, in two functions."""
    model = LeNet(3, 5)
    loss = divided if sick else F.cross_entropy
    return assemble(model, textures(seed).normalized(), sgd(model), loss=loss, steps=150)


@faulty("loss-target-mismatch", net="resnet", least=0.75)
def all_of_the_target_smoothed_away(sick: bool, seed: int) -> Pieces:
    """label_smoothing=1.0: someone read it as the weight of the label."""
    model = BottleneckNet(3, 5)
    loss = nn.CrossEntropyLoss(label_smoothing=1.0 if sick else 0.1)
    return assemble(model, textures(seed).normalized(), sgd(model), loss=loss, steps=80)


def shifted_hot(out: Tensor, y: Tensor) -> Tensor:
    hot = F.one_hot(y, 5)[:, :4].float()
    return F.binary_cross_entropy_with_logits(out, hot.roll(1, 1))


def hot_loss(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, F.one_hot(y, 4).float())


@faulty("loss-target-mismatch", net="transformer", least=0.7)
def target_in_the_next_column(sick: bool, seed: int) -> Pieces:
    """The one-hot target is built with room for a background class and is one column off."""
    model = SmallViT(3, 4)
    loss = shifted_hot if sick else hot_loss
    return assemble(model, disks(seed).normalized(), adamw(model, 4e-3), loss=loss, steps=300)


def wrong_rate(out: Tensor, y: Tensor) -> Tensor:
    return (out.argmax(1) != y).float().mean()


@faulty("no-gradient", net="mlp", least=0.8)
def error_rate_as_the_loss(sick: bool, seed: int) -> Pieces:
    """The loss is one minus the accuracy: nothing to differentiate."""
    model = TableNet(20, 6, act=nn.GELU)
    loss = wrong_rate if sick else F.cross_entropy
    return assemble(model, sectors(seed), adam(model), loss=loss, steps=100)


@faulty("loss-sign", net="mixer", least=0.7)
def one_minus_the_loss(sick: bool, seed: int) -> Pieces:
    """1 - loss, as for a score like Dice, around a cross-entropy."""
    model = SmallMixer(3, 4)
    loss = (lambda out, y: 1 - F.cross_entropy(out, y)) if sick else F.cross_entropy
    return assemble(model, disks(seed).normalized(), adamw(model, 4e-3), loss=loss, steps=150)


def masked(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out[y > 0], y[y > 0])


@faulty("loss-ignores-samples", net="mlp", where={"class 0", "0"}, measure="worst_class", least=0.6)
def foreground_only(sick: bool, seed: int) -> Pieces:
    """loss(out[y > 0], y[y > 0]), where class 0 used to be the background."""
    model = TableNet(20, 6, norm=True)
    loss = masked if sick else F.cross_entropy
    return assemble(model, sectors(seed), adam(model), loss=loss)


@faulty("params-not-optimized", net="plain cnn", least=0.75,
        where={"c1", "c2", "f1", "f2", "f3"})  # fmt: skip
def the_group_without_decay_only(sick: bool, seed: int) -> Pieces:
    """Two groups were made, the second list overwrote the first: only biases are optimized."""
    model = LeNet(1, 10)
    decay = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim == 1]
    optimizer = SGD(other if sick else decay + other, 0.05, 0.9)
    return assemble(model, large_digits(seed).normalized(), optimizer, steps=150)


@faulty("params-not-optimized", net="vgg", least=0.75)
def model_rebuilt_after_the_optimizer(sick: bool, seed: int) -> Pieces:
    """The optimizer was made for the model that a later line replaces."""
    old, model = VggBn(3, 4), VggBn(3, 4)
    return assemble(model, disks(seed).normalized(), adam(old if sick else model), steps=100)


@faulty("frozen-params", net="mobilenet", where={"entry", "entry_norm", "pairs"}, least=0.75)
def pretrained_is_false(sick: bool, seed: int) -> Pieces:
    """The features are frozen for transfer, but no weights were loaded."""
    model = MobileV1(3, 5)
    for part in (model.entry, model.entry_norm, model.pairs):
        part.requires_grad_(not sick)
    return assemble(model, textures(seed).normalized(), adam(model, 4e-3), steps=100)


@faulty("lr-too-high", net="plain cnn", least=0.7)
def schedule_in_percent(sick: bool, seed: int) -> Pieces:
    """The schedule returns percent: the rate is a hundred times what was meant."""
    unit = 100.0 if sick else 1.0
    model = LeNet(1, 10)
    return assemble(
        model,
        large_digits(seed).normalized(),
        adam(model, 2e-3),
        schedule=lambda done: unit * (1 - done),
        steps=150,
    )


@faulty("lr-too-low", net="selu", least=0.7)
def rate_of_one_millionth(sick: bool, seed: int) -> Pieces:
    """SGD at 1e-6."""
    model = SeluConv(3, 4)
    optimizer = sgd(model, 1e-6 if sick else 0.03)
    return assemble(model, disks(seed).normalized(), optimizer, steps=200)


@faulty("lr-too-low", net="resnet", least=0.75)
def decayed_at_every_step(sick: bool, seed: int) -> Pieces:
    """gamma = 0.1 of an exponential schedule is applied at every step, not every 30 epochs."""
    schedule = (lambda done: 0.1 ** (80 * done)) if sick else (lambda done: 1 - done)
    model = BottleneckNet(3, 5)
    data = textures(seed).normalized()
    return assemble(model, data, sgd(model, 0.03), schedule=schedule, steps=80)


@faulty("weight-decay-scale", net="vgg", least=0.7)
def l2_of_one_half(sick: bool, seed: int) -> Pieces:
    """DeepCrime's regularization: weight_decay=0.5 in plain SGD."""
    model = VggBn(3, 5)
    optimizer = sgd(model, 0.03, weight_decay=0.5 if sick else 5e-4)
    return assemble(model, textures(seed).normalized(), optimizer, steps=100)


@faulty("optimizer-hyperparameters", net="transformer", least=0.7)
def first_beta_of_0_9995(sick: bool, seed: int) -> Pieces:
    """Two nines too many: the mean of the gradient spans two thousand steps."""
    model = SmallViT(1, 10)
    optimizer = AdamW(model.parameters(), 3e-3, betas=(0.9995 if sick else 0.9, 0.999))
    return assemble(model, large_digits(seed).normalized(), optimizer, steps=150)


@faulty("optimizer-hyperparameters", "lr-too-low", net="mlp", least=0.7)
def rmsprop_with_epsilon_ten(sick: bool, seed: int) -> Pieces:
    """eps=10 instead of 1e-10."""
    model = TableNet(12, 3)
    optimizer = RMSprop(model.parameters(), lr=2e-3, eps=10.0 if sick else 1e-10)
    return assemble(model, rings(seed), optimizer, steps=250)


class Jitter(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x) if self.training else x


@faulty("cannot-overfit-batch", "dropout-rate", net="mlp", least=0.75)
def noise_that_drowns_the_features(sick: bool, seed: int) -> Pieces:
    """Gaussian noise of deviation 20 on hidden features, in training."""
    model = TableNet(20, 6)
    model.bn2 = Jitter(20.0 if sick else 0.1)  # type: ignore[assignment]
    return assemble(model, sectors(seed), adam(model))


class DropPath(nn.Module):
    """Drops whole branches and rescales none; evaluation multiplies by the share kept."""

    def __init__(self, branch: nn.Module, keep: float, sick: bool) -> None:
        super().__init__()
        self.branch, self.keep, self.sick = branch, keep, sick

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        if not self.training:
            return x + (y / self.keep if self.sick else y * self.keep)
        return x + y * (torch.rand(len(x), 1) < self.keep)


def branch(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


@faulty(
    "eval-expectation-mismatch",
    net="mlp",
    where={"1", "2", "3", "4"},
    least=0.7,
    measure="likelihood",
)
def paths_divided_instead_of_multiplied(sick: bool, seed: int) -> Pieces:
    """Stochastic depth, classical: evaluation divides by the share kept."""
    model = nn.Sequential(nn.Linear(20, 48))
    for _ in range(4):
        model.append(DropPath(branch(48), 0.4, sick))
    model.append(nn.Linear(48, 6))
    return assemble(model, sectors(seed), adam(model, 4e-3), steps=200)


class Gate(nn.Module):
    def __init__(self, sick: bool) -> None:
        super().__init__()
        self.sick = sick

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.sick:
            return x * torch.bernoulli(torch.full_like(x, 0.3)) / 0.3
        return x


@faulty("eval-nondeterministic", net="mlp", where={"act2"}, measure="repeatable", least=0.95)
def bernoulli_gates_in_evaluation(sick: bool, seed: int) -> Pieces:
    """A handmade gate that never asks for the mode."""
    model = TableNet(20, 6)
    model.act2 = nn.Sequential(nn.ReLU(), Gate(sick))  # type: ignore[assignment]
    return assemble(model, sectors(seed), adam(model))


@faulty("dropout-rate", net="vgg", where={"drop"}, least=0.7)
def keep_and_drop_confused(sick: bool, seed: int) -> Pieces:
    """Dropout(0.98): the share to keep was meant."""
    model = VggBn(3, 4, 0.98 if sick else 0.02)
    return assemble(model, disks(seed).normalized(), sgd(model, 0.03), steps=120)


@faulty("dropout-on-output", net="resnet", where={"last"}, measure="likelihood", least=0.6)
def dropout_after_the_last_layer(sick: bool, seed: int) -> Pieces:
    """Dropout(0.9) on the logits."""
    model = Ending(BottleneckNet(3, 5), nn.Dropout(0.9 if sick else 0.0))
    return assemble(model, textures(seed).normalized(), adam(model), steps=120)


@faulty("bn-small-batch", net="mlp", where={"bn1", "bn2"}, least=0.75)
def three_rows_for_a_batch_norm(sick: bool, seed: int) -> Pieces:
    """DeepCrime's batch size: three rows estimate a mean and a deviation."""
    model = TableNet(20, 6, norm=True)
    size, steps = (3, 300) if sick else (60, 150)
    return assemble(model, sectors(seed), sgd(model, 0.02), size=size, steps=steps)


@faulty("bn-stats", net="vgg", where={"norms"}, least=0.7)
def averages_over_a_hundred_thousand_steps(sick: bool, seed: int) -> Pieces:
    """momentum=1e-5: another library's 0.99999."""
    model = VggBn(3, 5, momentum=1e-5 if sick else 0.1)
    data = textures(seed).mapped(lambda x: 4 * (x - 0.5))
    return assemble(model, data, sgd(model, 0.03), steps=100)


@faulty("bn-stats", net="mlp", where={"bn1", "bn2"}, least=0.75)
def momentum_as_in_the_other_library(sick: bool, seed: int) -> Pieces:
    """momentum=0.99: the averages are those of the last batch of eight."""
    model = TableNet(20, 6, norm=True)
    for norm in (model.bn1, model.bn2):
        norm.momentum = 0.99 if sick else 0.1  # type: ignore[assignment]
    return assemble(model, sectors(seed), sgd(model, 0.01), size=8, steps=300)


class ListedDrops(LeNet):
    """Its dropouts are in a plain list, so train() and eval() do not reach them."""

    def __init__(self, sick: bool) -> None:
        super().__init__(3, 4)
        drops = [nn.Dropout(0.7), nn.Dropout(0.7)]
        self.drops: Any = drops if sick else nn.ModuleList(drops)

    def forward(self, x: Tensor) -> Tensor:
        drops: Iterable[nn.Module] = self.drops
        first, second = drops
        x = self.pool(self.a1(self.c1(x)))
        x = self.pool(self.a2(self.c2(x))).flatten(1)
        return self.f3(second(self.a4(self.f2(first(self.a3(self.f1(x)))))))


@faulty("stuck-mode", "eval-nondeterministic", net="plain cnn", measure="repeatable", least=0.95)
def dropouts_in_a_list(sick: bool, seed: int) -> Pieces:
    """eval() does not reach modules in a Python list."""
    model = ListedDrops(sick)
    return assemble(model, disks(seed).normalized(), adam(model), steps=200)
