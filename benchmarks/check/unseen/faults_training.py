"""Unseen: faults of outputs, losses, optimizers and schedules."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Data, digits
from benchmarks.check.program import Pieces, faulty
from benchmarks.check.training import train
from benchmarks.check.unseen.data import (
    arms,
    beats,
    cells,
    clothes,
    lesions,
    plates,
    relabelled,
    satellite,
    solids,
    songs,
    standard,
    symbols,
    textures,
)
from benchmarks.check.unseen.nets import (
    Dense,
    LeNet,
    Next,
    Plain,
    PointSet,
    Res,
    Separable,
    Shuffle,
    Signal,
    Vgg,
    Vit,
    perceptron,
)
from benchmarks.check.unseen.optim import warm
from torch import Tensor, nn
from torch.optim import SGD, Adam, NAdam

# Outputs and losses


@faulty("output-activation", "initial-loss-off", net="vgg", measure="likelihood", least=0.7)
def softmax_as_the_last_layer(sick: bool, seed: int) -> Pieces:
    """nn.Softmax ends the model, and CrossEntropyLoss applies another."""
    model = Vgg(1, 6)
    if sick:
        model.classifier.append(nn.Softmax(1))
    return assemble(model, standard(clothes(seed)), adam(model, 2e-3), size=40, steps=110)


def _absolute(out: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(out, F.one_hot(y, out.shape[1]).float())


@faulty("loss-target-mismatch", "constant-output", net="plain cnn", least=0.8)
def absolute_error_against_one_hot(sick: bool, seed: int) -> Pieces:
    """L1Loss on 32 mostly zero targets: answering zero is the best median."""
    model = Plain(1, 32, norm=nn.BatchNorm2d, width=16)
    data = standard(symbols(seed, each=30))
    loss = _absolute if sick else F.cross_entropy
    return assemble(model, data, adam(model, 4e-3), loss=loss, size=48, steps=120)


@faulty("loss-reduction", "lr-too-high", "gradient-exploding", net="resnet")
def summed_over_a_hundred_images(sick: bool, seed: int) -> Pieces:
    """reduction="sum" with the learning rate of a mean and batches of 100."""
    model = Res(1, 6)
    loss = nn.CrossEntropyLoss(reduction="sum" if sick else "mean")
    return assemble(
        model,
        standard(textures(seed)),
        sgd(model, 0.1),
        loss=loss,
        schedule=warm(0.1),
        size=100,
        steps=100,
    )


def _clamped(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(out[:, 0].clamp(1e-6, 1 - 1e-6), y.float())


def _with_sigmoid(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy(out[:, 0].sigmoid(), y.float())


def _against_zero(out: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(out), out], 1)


def _against_half(out: Tensor) -> Tensor:
    return torch.cat([torch.full_like(out, 0.5), out], 1)


@faulty("loss-target-mismatch", "no-gradient", "output-activation", net="vgg", least=0.85)
def clamped_where_a_sigmoid_was_missing(sick: bool, seed: int) -> Pieces:
    """BCELoss complained about its range; a clamp to [0, 1] silenced it."""
    model = Vgg(1, 1, drop=0.1)
    nn.init.constant_(model.classifier[-1].bias, -2.0)  # type: ignore[arg-type]
    loss, logits = (_clamped, _against_half) if sick else (_with_sigmoid, _against_zero)
    return assemble(
        model, standard(lesions(seed)), adam(model, 3e-3), loss=loss, logits=logits, size=40,
        steps=140,
    )  # fmt: skip


def _rare(data: Data) -> Data:
    keep = (data.y != 2) | ((data.y == 2).cumsum(0) % 5 == 0)
    return data.but(x=data.x[keep], y=data.y[keep])


@faulty("class-imbalance", "loss-ignores-samples", net="mobilenet", where={"class 2", "2"},
        measure="worst_class", least=0.6)  # fmt: skip
def weights_by_frequency_not_its_inverse(sick: bool, seed: int) -> Pieces:
    """A class of a fifth of the size gets a tenth of the weight, where five times was meant."""
    data = _rare(standard(satellite(seed)))
    share = data.y.bincount() / len(data.y)
    weight = share**2 if sick else 1 / share
    model = Separable(4, 5, width=12)
    loss = nn.CrossEntropyLoss(weight=weight / weight.mean())
    return assemble(model, data, adam(model, 2e-3), loss=loss, size=40, steps=100)


def _column(out: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(out[:, 0], y.float())


def _broadcast(out: Tensor, y: Tensor) -> Tensor:
    return (out - y.float()).square().mean()


def _nearest(out: Tensor) -> Tensor:
    return -(out - torch.arange(5)).abs()


@faulty("loss-target-mismatch", "constant-output", net="regression", least=0.6)
def a_column_less_a_row(sick: bool, seed: int) -> Pieces:
    """(N, 1) less (N,) is (N, N): each output is fitted to all counts of the batch."""
    model = Res(3, 1)
    return assemble(
        model, standard(cells(seed)), adam(model, 4e-3), loss=_broadcast if sick else _column,
        logits=_nearest, size=40, steps=160,
    )  # fmt: skip


class Next12(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(12, 16), nn.GRU(16, 48, batch_first=True)
        self.out = nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(self.embed(x))[0][:, -1])


@faulty(
    "output-width",
    "labels-invalid",
    "step-raises",
    net="gru",
    where={"out", "class 11", "label 11"},
    least=0.65,
)
def eleven_tones_of_twelve(sick: bool, seed: int) -> Pieces:
    """range(1, 12) has eleven numbers, and so has the last layer."""
    data = songs(seed)
    data = data.but(y=data.y[:, -1], val_y=data.val_y[:, -1], test_y=data.test_y[:, -1])
    model = Next12()
    if sick:
        model.out = nn.Linear(48, 11)
    return assemble(model, data, adam(model, 8e-3), size=40, steps=250)


# Optimizers


@faulty("lr-too-high", "gradient-exploding", "oscillation", net="vit", least=0.75)
def adamw_at_one_fifth(sick: bool, seed: int) -> Pieces:
    """The rate of SGD in AdamW, for a transformer."""
    model = Vit(1, 10, 8, 2)
    return assemble(
        model, digits(seed).normalized(), adamw(model, 0.2 if sick else 3e-3), size=50, steps=200
    )


@faulty("lr-too-low", net="dense", least=0.75)
def sgd_at_a_hundred_thousandth(sick: bool, seed: int) -> Pieces:
    """A rate of 1e-5 where 0.1 was meant."""
    model = Dense(4, 5)
    return assemble(
        model, standard(satellite(seed)), sgd(model, 1e-5 if sick else 0.1), size=40, steps=120
    )


@faulty("optimizer-hyperparameters", net="shufflenet")
def nesterov_with_momentum_of_0_9998(sick: bool, seed: int) -> Pieces:
    """A momentum of 0.9998 averages five thousand gradients."""
    model = Shuffle(1, 6)
    optimizer = SGD(model.parameters(), 0.05, 0.9998 if sick else 0.9, nesterov=True)
    return assemble(model, standard(clothes(seed)), optimizer, size=40, steps=120)


@faulty("optimizer-hyperparameters", "lr-too-low", net="convnext", least=0.75)
def epsilon_of_five_in_nadam(sick: bool, seed: int) -> Pieces:
    """eps=5 outweighs every gradient."""
    model = Next(4, 5, scale=0.1)
    optimizer = NAdam(model.parameters(), 3e-3, eps=5.0 if sick else 1e-8)
    return assemble(model, standard(satellite(seed)), optimizer, size=40, steps=140)


@faulty("params-not-optimized", net="vgg", where={"classifier.3"})
def head_replaced_after_the_optimizer(sick: bool, seed: int) -> Pieces:
    """A frozen trained body; the optimizer still has the head that was thrown away."""
    data = standard(clothes(seed))
    model = Vgg(1, 6)
    other = relabelled(standard(clothes(seed + 40)), torch.tensor([3, 4, 5, 0, 1, 2]))
    train(assemble(model, other, adam(model, 3e-3), size=48, steps=100))
    model.zero_grad()
    model.requires_grad_(False)
    model.classifier[-1].requires_grad_(True)
    new = nn.Linear(48, 6)
    if not sick:
        model.classifier[-1] = new
    optimizer = Adam(model.classifier[-1].parameters(), 1e-2)
    model.classifier[-1] = new
    return assemble(model, data, optimizer, size=40, steps=120)


class Forgetful(SGD):
    """Gradients of all steps so far are added up: zero_grad does nothing."""

    forgets = False

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self.forgets:
            super().zero_grad(set_to_none)


@faulty("optimizer-hyperparameters", "lr-too-high", "gradient-exploding", "oscillation",
        net="conv1d")  # fmt: skip
def gradients_never_cleared(sick: bool, seed: int) -> Pieces:
    """zero_grad() is overridden by an empty method."""
    model = Signal(1, 4)
    optimizer = Forgetful(model.parameters(), 0.1)
    optimizer.forgets = not sick
    return assemble(model, standard(beats(seed)), optimizer, size=40, steps=150)


@faulty("weight-decay-scale", net="resnet")
def decay_of_thirty(sick: bool, seed: int) -> Pieces:
    """AdamW with weight_decay=30: weights lose a tenth at each step."""
    model = Res(1, 6, norm=lambda n: nn.GroupNorm(4, n))
    optimizer = adamw(model, 4e-3, weight_decay=30.0 if sick else 0.03)
    return assemble(model, standard(textures(seed)), optimizer, size=40, steps=120)


@faulty("frozen-params", net="lenet", where={"conv1", "conv2", "fc1", "fc2"}, least=0.8)
def frozen_up_to_the_last_layer(sick: bool, seed: int) -> Pieces:
    """requires_grad_(False) for all but the last layer, and no weights were loaded."""
    model = LeNet(1, 10, 16)
    if sick:
        for part in (model.conv1, model.conv2, model.fc1, model.fc2):
            part.requires_grad_(False)
    return assemble(model, standard(plates(seed)), adam(model, 3e-3), size=40, steps=400)


# Schedules


@faulty("lr-too-low", "optimizer-hyperparameters", net="deep sets", least=0.75)
def halved_at_every_step(sick: bool, seed: int) -> Pieces:
    """The rate is halved at every step; at every fortieth was meant."""
    model = PointSet(4)
    schedule = lambda done: 0.5 ** (240 * done if sick else 4 * done)  # noqa: E731
    return assemble(model, solids(seed), adam(model, 4e-3), schedule=schedule, size=40, steps=240)


@faulty("lr-too-low", net="resnet", least=0.8)
def a_warmup_of_a_hundred_thousand_steps(sick: bool, seed: int) -> Pieces:
    """The run ends while the rate is at a thousandth of its peak."""
    model = Res(1, 6, before=True)
    schedule = (lambda done: 0.001 * done) if sick else warm(0.1)
    return assemble(
        model, standard(textures(seed)), sgd(model, 0.1), schedule=schedule, size=40, steps=160
    )


@faulty("loss-sign", net="regression", least=0.8)
def cosine_similarity_is_minimized(sick: bool, seed: int) -> Pieces:
    """The loss is the cosine of the angle to the target, which should have been one minus it."""
    model = perceptron(4, 2, 64)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        cosine = F.cosine_similarity(out, y).mean()
        return cosine if sick else 1 - cosine

    return assemble(model, arms(seed), adam(model, 4e-3), loss=loss, size=50, steps=150)
