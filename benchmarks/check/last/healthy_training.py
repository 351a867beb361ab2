"""Last: healthy programs whose losses, labels, data or optimizers are odd in some way."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, Data, digits, in_order, loader, seeded
from benchmarks.check.last.data import (
    bursts,
    census,
    clouds,
    glyphs,
    loudness,
    pairs,
    rows_of_digits,
    scaled,
    sentences,
    signals,
    spectra,
    tiles,
    topics,
)
from benchmarks.check.last.nets import (
    Bare,
    CodesAndNumbers,
    Glance,
    Ledger,
    PointNet,
    RowReader,
    WaveStack,
    WordConv,
    WordReader,
)
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adadelta, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


def counts(seed: int) -> Data:
    return scaled(topics(seed).mapped(torch.log1p))


def _pair(out: Tensor) -> Tensor:
    return torch.cat([-out, out], 1)


class Compared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twin, self.verdict = Bare(1, 32), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.twin(x[:, :1]), self.twin(x[:, 1:])
        return self.verdict(torch.cat([(a - b).abs(), a * b], 1))


@healthy(net="siamese")
def one_logit_for_a_pair(seed: int) -> Pieces:
    """BCEWithLogitsLoss with a positive weight of 1.2 on one output."""
    bce = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.2]))
    model = Compared()
    return assemble(
        model, pairs(seed), adam(model, 2e-3), loss=lambda out, y: bce(out[:, 0], y.float()),
        logits=_pair, size=50, steps=200,
    )  # fmt: skip


def _above(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, (y[:, None] > torch.arange(2)).float())


def _steps_up(out: Tensor) -> Tensor:
    p = F.pad(out.sigmoid(), (1, 0), value=1.0)
    return (p - F.pad(p[:, 1:], (0, 1), value=0.0)).clamp_min(1e-6).log()


@healthy(net="embeddings", least=0.75)
def ordered_classes_by_thresholds(seed: int) -> Pieces:
    """Two yes-or-no questions, is it above this class, for three ordered classes."""
    model = CodesAndNumbers(2)
    return assemble(
        model, census(seed), adam(model, 5e-3), loss=_above, logits=_steps_up, steps=200
    )


def _rounded(out: Tensor) -> Tensor:
    return -(out - torch.arange(4)).square()


@healthy(net="conv1d", least=0.75)
def regression_on_a_level(seed: int) -> Pieces:
    """Levels 0 to 3 are numbers here; the smooth L1 loss fits one output to them."""
    model = WaveStack(1, 1, 16)
    loss = lambda out, y: F.smooth_l1_loss(out[:, 0], y.float())  # noqa: E731
    data = scaled(loudness(seed))
    return assemble(model, data, adam(model, 3e-3), loss=loss, logits=_rounded, steps=200)


def _hump(y: Tensor) -> Tensor:
    p = (-(torch.arange(8) - y[:, None]).square() / 1.0).exp()
    return p / p.sum(1, keepdim=True)


@healthy(net="mlp", least=0.8)
def a_hump_of_probability(seed: int) -> Pieces:
    """Where in time: neighbouring eighths have some of the probability."""
    data = scaled(bursts(seed, train=1500))
    data = data.but(y=_hump(data.y), val_y=_hump(data.val_y), test_y=_hump(data.test_y))
    model = Ledger(64, 8, width=64)
    loss = lambda out, y: F.kl_div(out.log_softmax(1), y, reduction="batchmean")  # noqa: E731
    return assemble(model, data, adam(model, 3e-3), loss=loss, steps=250)


def poly(out: Tensor, y: Tensor) -> Tensor:
    each = F.cross_entropy(out, y, reduction="none")
    return (each + 1 - (-each).exp()).mean()


@healthy(net="plain cnn", least=0.85)
def poly_loss(seed: int) -> Pieces:
    """Cross-entropy plus one minus the probability: it starts above log C."""
    model = Bare(1, 6)
    return assemble(model, glyphs(seed), adam(model), loss=poly, size=50, steps=120)


def generalized(out: Tensor, y: Tensor) -> Tensor:
    p = out.softmax(1).gather(1, y[:, None])
    return ((1 - p.pow(0.5)) / 0.5).mean()


@healthy(net="mlp", least=0.85)
def robust_loss_for_wrong_labels(seed: int) -> Pieces:
    """Generalized cross-entropy; eight labels of a hundred are wrong."""
    data = counts(seed)
    wrong = torch.rand(len(data.y), generator=seeded(seed)) < 0.08
    y = torch.where(wrong, torch.randint(6, data.y.shape, generator=seeded(seed)), data.y)
    model = Ledger(60, 6)
    return assemble(model, data.but(y=y), adam(model), loss=generalized)


@healthy(net="text cnn", least=0.85)
def smoothed_against_wrong_labels(seed: int) -> Pieces:
    """Six labels of a hundred are wrong; label smoothing of 0.1."""
    data = sentences(seed, train=1500)
    wrong = torch.rand(len(data.y), generator=seeded(seed)) < 0.06
    y = torch.where(wrong, torch.randint(4, data.y.shape, generator=seeded(seed)), data.y)
    model = WordConv(drop=0.2)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    return assemble(model, data.but(y=y), adam(model, 3e-3), loss=loss)


def squared_hinge(out: Tensor, y: Tensor) -> Tensor:
    sign = 2 * F.one_hot(y, out.shape[1]).float() - 1
    return F.relu(1 - sign * out).square().mean()


@healthy(net="mlp", least=0.85)
def squared_hinge_against_the_rest(seed: int) -> Pieces:
    """Six support vector machines on top of a hidden layer."""
    model = Ledger(60, 6)
    return assemble(model, counts(seed), adam(model), loss=squared_hinge)


def trimmed(out: Tensor, y: Tensor) -> Tensor:
    each = F.cross_entropy(out, y, reduction="none")
    return each.sort().values[: int(0.95 * len(each))].mean()


@healthy(net="deep sets")
def worst_of_each_batch_left_out(seed: int) -> Pieces:
    """Robust: the twentieth with the largest loss does not count."""
    model = PointNet()
    return assemble(model, clouds(seed), adam(model, 4e-3), loss=trimmed, steps=200)


class Proxies(nn.Module):
    """A loss with its own weights: the angle to each class's proxy, with a margin."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(classes, width))

    def scores(self, out: Tensor) -> Tensor:
        return 12 * F.linear(F.normalize(out), F.normalize(self.proxies))

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        scores = self.scores(out)
        return F.cross_entropy(scores - 1.2 * F.one_hot(y, scores.shape[1]), y)


@healthy(net="plain cnn", least=0.85)
def a_loss_with_its_own_weights(seed: int) -> Pieces:
    """CosFace: the model ends in an embedding, and the loss has the classes' proxies."""
    model, loss = Bare(1, 24), Proxies(24, 6)
    optimizer = Adam([*model.parameters(), *loss.parameters()], 2e-3)
    return assemble(
        model, glyphs(seed), optimizer, loss=loss, logits=loss.scores, size=50, steps=120
    )


class TwoTasks(nn.Module):
    """Which digit, and is it even: the two losses are weighed by learned uncertainties."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.even = Ledger(64, 10, width=64), nn.Linear(64, 2)
        self.doubt = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body.features(x)
        return {"digit": self.body.verdict(h), "even": self.even(h), "doubt": self.doubt}


def _weighed(out: dict[str, Tensor], y: Tensor) -> Tensor:
    both = torch.stack([F.cross_entropy(out["digit"], y), F.cross_entropy(out["even"], y % 2)])
    return ((-out["doubt"]).exp() * both + 0.5 * out["doubt"]).sum()


@healthy(net="mlp", least=0.85)
def two_tasks_weighed_by_doubt(seed: int) -> Pieces:
    """A dict of outputs, among them learned weights of the losses; the loss may go below zero."""
    model = TwoTasks()
    return assemble(
        model, digits(seed).normalized(), adam(model, 2e-3), loss=_weighed,
        logits=lambda out: out["digit"],
    )  # fmt: skip


class Taught(nn.Module):
    """A student beside its teacher, who is frozen and in evaluation."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.student, self.teacher = Ledger(60, 6, width=16), teacher.requires_grad_(False)

    def train(self, mode: bool = True) -> "Taught":
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.student(x), self.teacher(x)


def _distilled(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    student, teacher = out
    soft = F.kl_div((student / 3).log_softmax(1), (teacher / 3).softmax(1), reduction="batchmean")
    return 0.5 * F.cross_entropy(student, y) + 4.5 * soft


def _student(out: tuple[Tensor, Tensor]) -> Tensor:
    return out[0]


def pretrained(model: nn.Module, data: Data, steps: int = 100, lr: float = 3e-3) -> nn.Module:
    state = torch.random.get_rng_state()
    train(assemble(model, data, adam(model, lr), steps=steps))
    torch.random.set_rng_state(state)
    return model


@healthy(net="mlp", least=0.85)
def a_teacher_within_the_model(seed: int) -> Pieces:
    """Distillation: the frozen teacher is a submodule that the optimizer does not have."""
    data = counts(seed)
    model = Taught(pretrained(Ledger(60, 6, width=96), data))
    optimizer = Adam(model.student.parameters(), 4e-3)
    return assemble(model, data, optimizer, loss=_distilled, logits=_student)


class LowRank(nn.Module):
    """A frozen layer and the product of two thin matrices, one of which starts at zero."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) * layer.in_features**-0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + F.linear(F.linear(x, self.a), self.b)


def _regrouped(data: Data) -> Data:
    kind = torch.tensor([0, 1, 2, 0, 1, 2])
    return data.but(y=kind[data.y], val_y=kind[data.val_y], test_y=kind[data.test_y])


@healthy(net="mlp", least=0.85)
def low_rank_adapters(seed: int) -> Pieces:
    """LoRA on a net trained for six topics, now for three groups of topics."""
    data = counts(seed)
    model = Ledger(60, 6)
    pretrained(model, data)
    for i in range(2):
        model.hidden[i] = LowRank(model.hidden[i])  # type: ignore[arg-type]
    model.verdict = nn.Linear(48, 3)
    trained = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, _regrouped(data), AdamW(trained, 4e-3))


@healthy(net="mlp", least=0.85)
def biases_and_head_only(seed: int) -> Pieces:
    """BitFit: the matrices of a trained net are frozen, its biases are not."""
    data = counts(seed)
    model = Ledger(60, 6)
    pretrained(model, data)
    model.verdict = nn.Linear(48, 3)
    for layer in model.hidden:
        layer.weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    return assemble(model, _regrouped(data), Adam(model.parameters(), 5e-3))


@healthy(net="plain cnn", least=0.85)
def first_layer_kept_at_rate_zero(seed: int) -> Pieces:
    """Trained filters stay in a group whose rate is zero for now; the rest is fine-tuned."""
    data = scaled(spectra(seed))
    model = Bare(5, 4)
    pretrained(model, data, 80)
    groups = [
        {"params": model.near.parameters(), "lr": 0.0},
        {"params": model.far.parameters(), "lr": 5e-4},
        {"params": model.verdict.parameters(), "lr": 2e-3},
    ]
    return assemble(model, data, AdamW(groups), size=40, steps=60)


class Averaged(nn.Module):
    """Trains a net and evaluates its moving average."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.average = net, deepcopy(net).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.average(x)
        with torch.no_grad():
            for mine, its in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mine.lerp_(its, 0.1)
        return self.net(x)


@healthy(net="group norm", least=0.85)
def a_moving_average_is_evaluated(seed: int) -> Pieces:
    """The average of the last ten steps' weights is a frozen copy within the model."""
    model = Averaged(Glance(5, 4))
    optimizer = Adam(model.net.parameters(), 3e-3)
    return assemble(model, scaled(spectra(seed)), optimizer, size=40, steps=120)


class DropConnect(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, F.dropout(self.weight, 0.3, self.training), self.bias)


@healthy(net="mlp", least=0.85)
def connections_dropped_and_rescaled(seed: int) -> Pieces:
    """DropConnect of three weights in ten."""
    model = Ledger(60, 6, width=80)
    model.hidden[1] = DropConnect(80, 80)
    return assemble(model, counts(seed), adam(model), steps=150)


class Multiplied(nn.Module):
    """Gaussian dropout: noise of mean one in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + 0.5 * torch.randn_like(x)) if self.training else x


@healthy(net="group norm", least=0.85)
def gaussian_and_spatial_dropout(seed: int) -> Pieces:
    """Whole channels are dropped, and features are multiplied by noise of mean one."""
    model = Glance(1, 6)
    model.pool = nn.Sequential(nn.Dropout2d(0.15), nn.AdaptiveAvgPool2d(2), Multiplied())  # type: ignore[assignment]
    return assemble(model, glyphs(seed), adam(model, 3e-3), size=50, steps=150)


def one_cycle(done: float) -> float:
    """Up from a tenth for a third of the run, down to nothing."""
    if done < 1 / 3:
        return 0.1 + 2.7 * done
    return 0.5 + 0.5 * math.cos(1.5 * math.pi * (done - 1 / 3))


@healthy(net="embeddings", least=0.75)
def one_cycle_on_a_table(seed: int) -> Pieces:
    """SGD with Nesterov momentum up to 0.1 and back."""
    model = CodesAndNumbers()
    optimizer = SGD(model.parameters(), 0.1, 0.9, nesterov=True, weight_decay=1e-4)
    return assemble(model, census(seed), optimizer, schedule=one_cycle, steps=250)


@healthy(net="group norm", least=0.85)
def nadam_and_steps_down(seed: int) -> Pieces:
    """NAdam; the rate falls to a fifth after half and three quarters of the run."""
    model = Glance(1, 6, nn.ELU)
    optimizer = NAdam(model.parameters(), 3e-3)
    schedule = lambda done: 0.2 ** ((done > 0.5) + (done > 0.75))  # noqa: E731
    return assemble(model, glyphs(seed), optimizer, schedule=schedule, size=50, steps=120)


@healthy(net="plain cnn", least=0.85)
def adadelta_at_one(seed: int) -> Pieces:
    """Adadelta's rate is one."""
    model = Bare(3, 4)
    optimizer = Adadelta(model.parameters(), 1.0)
    return assemble(model, scaled(tiles(seed)), optimizer, size=50, steps=120)


@healthy(net="text gru", least=0.85)
def adamax_at_two_hundredths(seed: int) -> Pieces:
    """Adamax with a rate of 0.02 on words."""
    model = WordReader()
    return assemble(model, sentences(seed), Adamax(model.parameters(), 0.02))


@healthy(net="gru")
def radam_with_decoupled_decay(seed: int) -> Pieces:
    """RAdam warms up by itself."""
    model = RowReader(8, 10)
    optimizer = RAdam(model.parameters(), 1e-2, weight_decay=1e-3, decoupled_weight_decay=True)
    return assemble(model, rows_of_digits(seed), optimizer, steps=200)


@healthy(net="mlp", least=0.85)
def centered_rmsprop(seed: int) -> Pieces:
    """RMSprop, centered, with momentum."""
    model = Ledger(60, 6, act=nn.LeakyReLU)
    optimizer = RMSprop(model.parameters(), 5e-4, centered=True, momentum=0.9)
    return assemble(model, counts(seed), optimizer)


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of the averaged gradient."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(mean.mul(0.9).add(p.grad, alpha=0.1).sign(), alpha=group["lr"])
                mean.mul_(0.99).add_(p.grad, alpha=0.01)


@healthy(net="mlp", least=0.85)
def lion_with_its_own_rate(seed: int) -> Pieces:
    """A handmade optimizer of signs, at 1e-3 with a decay of 0.1."""
    model = Ledger(60, 6, act=nn.GELU)
    return assemble(model, counts(seed), Lion(model.parameters(), 1e-3, 0.1))


class EverySecond(Adam):
    """Adds up the gradients of two batches, then moves."""

    waiting = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.waiting = not self.waiting
        if self.waiting:
            self.kept = [p.grad.clone() for p in params]
            return None
        for p, kept in zip(params, self.kept, strict=True):
            p.grad.add_(kept).mul_(0.5)
        return super().step(closure)


@healthy(net="plain cnn", least=0.85)
def gradients_of_two_batches(seed: int) -> Pieces:
    """The optimizer moves at every second call, by the mean of two gradients."""
    model = Bare(3, 4)
    optimizer = EverySecond(model.parameters(), 4e-3)
    return assemble(model, scaled(tiles(seed)), optimizer, size=32, steps=150)


class Clipped(AdamW):
    """Each gradient's norm is at most a share of its weight's."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    most = 0.1 * p.norm().clamp_min(1e-2)
                    p.grad.mul_((most / p.grad.norm().clamp_min(1e-12)).clamp_max(1.0))
        return super().step(closure)


@healthy(net="lstm")
def clipped_by_the_size_of_the_weights(seed: int) -> Pieces:
    """Adaptive clipping within the optimizer, no decay for biases."""
    model = RowReader(8, 10, nn.LSTM)
    wide = [p for p in model.parameters() if p.ndim > 1]
    flat = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": wide, "weight_decay": 0.05}, {"params": flat, "weight_decay": 0.0}]
    return assemble(model, rows_of_digits(seed), Clipped(groups, 8e-3), steps=200)


def cut_and_mixed(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """A patch of a partner, and its share of the label."""
    other = torch.randperm(len(x), generator=random)
    side = int(torch.randint(2, 8, (1,), generator=random))
    up, left = torch.randint(0, 13 - side, (2,), generator=random).tolist()
    x = x.clone()
    x[..., up : up + side, left : left + side] = x[other][..., up : up + side, left : left + side]
    hot, share = F.one_hot(y, 6).float(), side * side / 144
    return x, (1 - share) * hot + share * hot[other]


@healthy(net="plain cnn", least=0.85)
def cutmix_with_shared_labels(seed: int) -> Pieces:
    """Patches of other images, and soft labels by area."""
    data = glyphs(seed)
    model = Bare(1, 6)
    batches = loader(data, 50, seed, change=cut_and_mixed)
    return assemble(model, data, adam(model), train=batches, steps=150)


def masked_in_time(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    at, by = torch.randint(0, 56, (2,), generator=random).tolist()
    x = x.roll(by, 2)
    x[:, :, at : at + 8] = 0
    return x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, generator=random)), y


@healthy(net="conv1d", least=0.8)
def recordings_shifted_and_masked(seed: int) -> Pieces:
    """Shifts in time, a masked stretch and another gain in training."""
    data = scaled(signals(seed))
    model = WaveStack(2, 5, 16, nn.GELU)
    batches = loader(data, 40, seed, change=masked_in_time)
    return assemble(model, data, adam(model, 4e-3), train=batches, steps=200)


@healthy(net="mlp", measure="clean", least=0.8)
def one_class_a_fifth_with_weights(seed: int) -> Pieces:
    """Two of six topics have a fifth of the texts; the loss weighs them three times."""
    data = counts(seed)
    kept = (data.y > 1) | (torch.rand(len(data.y), generator=seeded(seed)) < 0.2)
    data = data.but(x=data.x[kept], y=data.y[kept])
    loss = nn.CrossEntropyLoss(torch.tensor([3.0, 3.0, 1.0, 1.0, 1.0, 1.0]))
    model = Ledger(60, 6)
    return assemble(model, data, adam(model), loss=loss, size=50, steps=120)


class Simulator:
    """Never shows an image twice: each batch has new noise."""

    def __init__(self, data: Data, seed: int) -> None:
        self.x, self.y, self.random = data.x, data.y, seeded(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(25):
            index = torch.randint(len(self.x), (40,), generator=self.random)
            x = self.x[index]
            yield x + 0.2 * torch.randn(x.shape, generator=self.random), self.y[index]


@healthy(net="group norm", least=0.85)
def an_endless_simulator(seed: int) -> Pieces:
    """An iterable without a length draws its batches at random, with replacement."""
    data = scaled(spectra(seed))
    model = Glance(5, 4, nn.Mish)
    return assemble(model, data, adam(model, 3e-3), train=Simulator(data, seed), steps=100)


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, data: Data, seed: int) -> None:
        self.x, self.y, self.random = data.x, data.y, seeded(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in torch.randperm(len(self.x), generator=self.random).tolist():
            yield self.x[i], self.y[i]


@healthy(net="text cnn", least=0.85)
def sentences_from_a_stream(seed: int) -> Pieces:
    """An IterableDataset that shuffles by itself, batches of 48, the last one smaller."""
    data = sentences(seed)
    model = WordConv(drop=0.3)
    batches = DataLoader(Stream(data, seed), 48)
    return assemble(model, data, adam(model, 4e-3), train=batches, steps=120)


@healthy(net="mlp", least=0.85)
def a_list_of_batches_made_once(seed: int) -> Pieces:
    """The batches were mixed once and come in the same order in each epoch."""
    data = counts(seed)
    batches = list(loader(data, 45, seed))
    model = Ledger(60, 6, act=nn.ReLU6)
    return assemble(model, data, adam(model), train=batches)


@healthy(net="deep sets")
def sorted_rows_that_are_shuffled(seed: int) -> Pieces:
    """The file is sorted by class; the loader shuffles; batches carry an index as well."""
    data = clouds(seed)
    order = data.y.argsort(stable=True)
    data = data.but(x=data.x[order], y=data.y[order])
    rows = TensorDataset(data.x, data.y, torch.arange(len(data.y)))
    batches = DataLoader(rows, 60, shuffle=True, generator=seeded(seed), drop_last=True)
    model = PointNet()
    return assemble(model, data, adam(model, 4e-3), train=batches, steps=200)


@healthy(net="plain cnn", least=0.8)
def a_validation_set_of_forty(seed: int) -> Pieces:
    """Forty images in batches of seven."""
    data = glyphs(seed)
    model = Bare(1, 6, nn.Tanh)
    val = in_order(data.val_x[:40], data.val_y[:40], 7)
    return assemble(model, data, adam(model), val=val, size=40, steps=120)


@healthy(net="embeddings", least=0.7)
def a_table_without_validation(seed: int) -> Pieces:
    """Everything is for training."""
    model = CodesAndNumbers(width=32)
    pieces = assemble(model, census(seed), adamw(model, 5e-3), size=50, steps=150)
    pieces.val = None
    return pieces


@healthy(net="mlp", least=0.8)
def a_tenth_missing_with_indicators(seed: int) -> Pieces:
    """Missing cells are zero, and sixty more columns say where."""

    def hide(x: Tensor) -> Tensor:
        gone = (torch.rand(x.shape, generator=seeded(seed + len(x))) < 0.1).float()
        return torch.cat([x * (1 - gone), gone], 1)

    data = counts(seed).mapped(hide)
    model = Ledger(120, 6)
    return assemble(model, data, adam(model), steps=150)


@healthy(net="mlp", least=0.8)
def raw_counts_mostly_zero(seed: int) -> Pieces:
    """Counts of words as they are: small, and three quarters of them zero."""
    model = Ledger(60, 6)
    return assemble(model, topics(seed), adam(model, 3e-3), steps=150)


@healthy(net="gru", least=0.8)
def rows_of_digits_in_double_precision(seed: int) -> Pieces:
    """Everything is float64."""
    model = RowReader(8, 10).double()
    data = rows_of_digits(seed).mapped(lambda x: x.double())
    return assemble(model, data, adam(model, 5e-3), size=50, steps=200)


@healthy(net="plain cnn", least=0.85)
def pixels_from_minus_one_to_one(seed: int) -> Pieces:
    """Bytes over 127.5, less one; nothing else is normalized."""
    data = tiles(seed).mapped(lambda x: x / 127.5 - 1)
    model = Bare(3, 4, nn.SiLU)
    return assemble(model, data, adam(model, 2e-3), size=50, steps=120)


@healthy(net="mlp", least=0.8)
def thirty_rows_twice(seed: int) -> Pieces:
    """Thirty texts were entered twice, as happens."""
    data = counts(seed)
    data = data.but(x=torch.cat([data.x, data.x[:30]]), y=torch.cat([data.y, data.y[:30]]))
    model = Ledger(60, 6)
    val = Batches(data.val_x, data.val_y, 33, shuffle=False, drop_last=False)
    return assemble(model, data, sgd(model, 0.05), val=val, steps=120)


Loss = Callable[[Tensor, Tensor], Tensor]


def symmetric(model: nn.Module) -> Loss:
    """Cross-entropy, a bonus for unsure answers, and a light penalty on the last layer."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        p = out.softmax(1)
        unsure = -(p * (p + 1e-9).log()).sum(1).mean()
        return F.cross_entropy(out, y) - 0.1 * unsure + 1e-4 * model.verdict.weight.square().sum()  # type: ignore[union-attr, operator]

    return loss


@healthy(net="plain cnn", least=0.85)
def a_bonus_for_unsure_answers(seed: int) -> Pieces:
    """The confidence penalty; the loss reads the model's weights, too."""
    model = Bare(5, 4)
    data = scaled(spectra(seed))
    return assemble(model, data, adam(model), loss=symmetric(model), size=40, steps=120)
