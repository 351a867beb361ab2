"""Last: faults of the loss, the optimizer, and of what differs between training and use."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, assemble, sgd
from benchmarks.check.last.data import (
    bursts,
    census,
    clouds,
    glyphs,
    pairs,
    rows_of_digits,
    scaled,
    sentences,
    signals,
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
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Optimizer, RMSprop


def counts(seed: int) -> Any:
    return scaled(topics(seed).mapped(torch.log1p))


class Ended(nn.Module):
    def __init__(self, body: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.body(x))


def _each(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out, F.one_hot(y, out.shape[1]).float())


@faulty("output-activation", net="text cnn", where={"end"}, measure="likelihood", least=0.6)
def sigmoid_and_then_logits(sick: bool, seed: int) -> Pieces:
    """The net ends in a sigmoid and BCEWithLogitsLoss applies another."""
    model = Ended(WordConv(), nn.Sigmoid() if sick else nn.Identity())
    return assemble(model, sentences(seed), adam(model, 5e-3), loss=_each, steps=250)


@faulty("output-activation", "batch-leakage", "loss-target-mismatch", net="mlp", where={"end"},
        measure="alone")  # fmt: skip
def softmax_layer_over_axis_zero(sick: bool, seed: int) -> Pieces:
    """nn.Softmax(0) at the end of the model: the texts of a batch compete with each other."""
    model = Ended(Ledger(60, 6), nn.Softmax(0) if sick else nn.Identity())
    return assemble(model, counts(seed), adam(model))


@faulty("output-activation", net="embeddings", where={"end"}, measure="likelihood", least=0.7)
def logits_clipped_to_a_unit(sick: bool, seed: int) -> Pieces:
    """Hardtanh at the end, against too sure an answer."""
    model = Ended(CodesAndNumbers(), nn.Hardtanh(-0.5, 0.5) if sick else nn.Hardtanh(-30, 30))
    return assemble(model, census(seed), adam(model, 5e-3), steps=250)


@faulty("output-width", "labels-invalid", net="embeddings", where={"verdict", "class 2", "label 2"})
def one_less_for_the_reference_class(sick: bool, seed: int) -> Pieces:
    """As in a statistics course, the reference class has no output; cross-entropy wants one."""
    model = CodesAndNumbers(2 if sick else 3)
    return assemble(model, census(seed), adam(model, 5e-3))


def _scaled(out: Tensor, y: Tensor) -> Tensor:
    return 1024 * F.cross_entropy(out, y)


@faulty("loss-reduction", "lr-too-high", "gradient-exploding", net="group norm")
def loss_scaled_and_never_unscaled(sick: bool, seed: int) -> Pieces:
    """The loss is multiplied by 1024 for half precision; nobody divides the gradients."""
    model = Glance(1, 6)
    loss = _scaled if sick else F.cross_entropy
    return assemble(model, glyphs(seed), sgd(model, 0.03), loss=loss, steps=120)


def _sum_of_rows(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, reduction="none").sum()


@faulty("loss-reduction", "lr-too-high", net="embeddings")
def losses_added_over_a_large_batch(sick: bool, seed: int) -> Pieces:
    """reduction="none", and .sum() instead of .mean(), over batches of 150."""
    model = CodesAndNumbers()
    loss = _sum_of_rows if sick else F.cross_entropy
    return assemble(model, census(seed), sgd(model, 0.1), loss=loss, size=150, steps=200)


def _nearest(out: Tensor) -> Tensor:
    return -(out - torch.arange(3)).square()


def _broadcast(out: Tensor, y: Tensor) -> Tensor:
    return (out - y).square().mean()


def _squared(out: Tensor, y: Tensor) -> Tensor:
    return (out[:, 0] - y).square().mean()


@faulty("loss-target-mismatch", "batch-leakage", net="embeddings", least=0.75)
def column_minus_row(sick: bool, seed: int) -> Pieces:
    """(N, 1) outputs less (N,) targets is a square of all pairs: the net learns the mean."""
    model = CodesAndNumbers(1)
    loss = _broadcast if sick else _squared
    return assemble(model, census(seed), adam(model, 5e-3), loss=loss, logits=_nearest, steps=250)


def _pair(out: Tensor) -> Tensor:
    return torch.cat([-out, out], 1)


def _hinge(low: int) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        sign = torch.where(y == 1, 1, low)
        return F.relu(1 - sign * out[:, 0]).mean()

    return loss


class Compared(nn.Module):
    """Two glyphs in one net, one score for the pair."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.twin, self.verdict = Bare(1, 32), nn.Linear(64, width)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.twin(x[:, :1]), self.twin(x[:, 1:])
        return self.verdict(torch.cat([(a - b).abs(), a * b], 1))


@faulty("loss-target-mismatch", "loss-ignores-samples", net="siamese", least=0.8)
def hinge_on_zero_and_one(sick: bool, seed: int) -> Pieces:
    """The hinge loss wants -1 and 1; labels of 0 make a constant of their term."""
    model = Compared()
    loss = _hinge(0 if sick else -1)
    return assemble(model, pairs(seed), adam(model), loss=loss, logits=_pair, steps=200)


class Climbing(Optimizer):
    """A handmade optimizer: `sign` is -1 downhill."""

    def __init__(self, params: Any, lr: float, sign: float) -> None:
        super().__init__(params, {"lr": lr})
        self.sign = sign

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=self.sign * group["lr"])


@faulty("loss-sign", "step-raises", net="mlp")
def handmade_step_adds_the_gradient(sick: bool, seed: int) -> Pieces:
    """p.add_(p.grad, alpha=lr), without the minus."""
    model = Ledger(60, 6, act=nn.Tanh)
    optimizer = Climbing(model.parameters(), 0.2, 1.0 if sick else -1.0)
    return assemble(model, counts(seed), optimizer)


def _similarity(sign: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        right = out.gather(1, y[:, None])
        wrong = out.masked_fill(F.one_hot(y, out.shape[1]).bool(), -torch.inf).amax(1)
        return F.relu(0.5 + sign * (right[:, 0] - wrong)).mean()

    return loss


@faulty("loss-sign", "loss-target-mismatch", net="deep sets")
def margin_between_the_wrong_two(sick: bool, seed: int) -> Pieces:
    """relu(0.5 + right - wrong): distances were meant, but these are scores."""
    model = PointNet()
    loss = _similarity(1.0 if sick else -1.0)
    return assemble(model, clouds(seed), adam(model, 4e-3), loss=loss, steps=200)


@faulty("loss-ignores-samples", net="text cnn", where={"class 2", "2"}, measure="worst_class")
def class_weight_of_zero(sick: bool, seed: int) -> Pieces:
    """Weights were counted on a part of the data without class 2, where 1 / n became 0."""
    model = WordConv()
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 1.0, 0.0 if sick else 1.0, 1.0]))
    return assemble(model, sentences(seed), adam(model, 3e-3), loss=loss, steps=150)


def _mined(largest: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(out, y, reduction="none")
        return each.topk(len(each) // 5, largest=largest).values.mean()

    return loss


@faulty("loss-ignores-samples", "loss-target-mismatch", net="plain cnn")
def mines_the_easiest_examples(sick: bool, seed: int) -> Pieces:
    """topk(largest=False): the loss counts the fifth that the net already gets right."""
    model = Bare(1, 6)
    return assemble(model, glyphs(seed), adam(model), loss=_mined(not sick), steps=150)


@faulty("params-not-optimized", net="text gru", where={"embed", "reader"})
def parameters_collected_from_linear_layers(sick: bool, seed: int) -> Pieces:
    """The list of parameters has those of nn.Linear only; the embeddings and the GRU stay."""
    model = WordReader()
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) or not sick]
    chosen = {p: None for m in linear for p in m.parameters()}
    return assemble(model, sentences(seed), Adam(list(chosen), 5e-3), steps=150)


@faulty("frozen-params", net="plain cnn", where={"near", "far"}, least=0.8)
def frozen_before_the_weights_were_loaded(sick: bool, seed: int) -> Pieces:
    """Only the decision's weights are trained, on filters that are drawn at random."""
    model = Bare(3, 4)
    model.near, model.far = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 24, 3, 2, 1)
    model.near.requires_grad_(not sick)
    model.far.requires_grad_(not sick)
    model.pool = nn.AdaptiveMaxPool2d(1)
    model.verdict = nn.Linear(24, 4)
    return assemble(model, scaled(tiles(seed)), adam(model, 5e-3), steps=120)


@faulty("frozen-params", "signal-vanishing", net="text cnn", where={"embed"})
def empty_vectors_frozen(sick: bool, seed: int) -> Pieces:
    """Embedding.from_pretrained freezes, and the vectors in the file were all nearly zero."""
    model = WordConv()
    vectors = (1e-4 if sick else 0.5) * torch.randn(25, 16)
    model.embed = nn.Embedding.from_pretrained(vectors, freeze=sick, padding_idx=0)
    return assemble(model, sentences(seed), adam(model, 3e-3), steps=200)


class Lion(Optimizer):
    """Steps of one size in the direction of the sign of the averaged gradient."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.sub_(mean.mul(0.9).add(p.grad, alpha=0.1).sign(), alpha=group["lr"])
                mean.mul_(0.99).add_(p.grad, alpha=0.01)


@faulty("lr-too-high", net="plain cnn")
def lion_at_the_rate_of_sgd(sick: bool, seed: int) -> Pieces:
    """Every step of this optimizer is as long as its rate; 0.1 is SGD's."""
    model = Bare(1, 6)
    optimizer = Lion(model.parameters(), 0.1 if sick else 1e-3)
    return assemble(model, glyphs(seed), optimizer, size=40, steps=120)


@faulty("lr-too-high", net="text gru", where={"embed", "reader"})
def first_layers_two_hundred_times_faster(sick: bool, seed: int) -> Pieces:
    """Layer-wise rates with the factor upside down: the first layers learn fastest."""
    model = WordReader()
    late = list(model.verdict.parameters())
    early = [*model.embed.parameters(), *model.reader.parameters()]
    groups = [{"params": early, "lr": 1.0 if sick else 5e-3}, {"params": late, "lr": 5e-3}]
    return assemble(model, sentences(seed), AdamW(groups), steps=150)


@faulty("lr-too-high", net="embeddings")
def adamax_at_two(sick: bool, seed: int) -> Pieces:
    """A rate of 2, fine for the optimizer before it, is a thousand times Adamax's usual one."""
    model = CodesAndNumbers()
    optimizer = Adamax(model.parameters(), 2.0 if sick else 1e-2)
    return assemble(model, census(seed), optimizer, steps=200)


@faulty("lr-too-low", net="group norm")
def adadelta_at_one_thousandth(sick: bool, seed: int) -> Pieces:
    """Adadelta wants a rate of about 1 and got Adam's."""
    model = Glance(1, 6)
    optimizer = Adadelta(model.parameters(), 1e-3 if sick else 1.0)
    return assemble(model, glyphs(seed), optimizer, steps=120)


@faulty("lr-too-low", "optimizer-hyperparameters", net="mlp")
def adagrad_that_brakes_at_once(sick: bool, seed: int) -> Pieces:
    """lr_decay=20: the rate is a twentieth after one step, a thousandth after fifty."""
    model = Ledger(60, 6)
    optimizer = Adagrad(model.parameters(), 0.01, lr_decay=20.0 if sick else 0.0)
    return assemble(model, counts(seed), optimizer)


class ByValue(SGD):
    limit = 1.0

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        for group in self.param_groups:
            nn.utils.clip_grad_value_(group["params"], self.limit)
        return super().step(closure)


@faulty("lr-too-low", net="plain cnn")
def clipped_to_a_millionth_by_value(sick: bool, seed: int) -> Pieces:
    """clip_grad_value_(1e-6) instead of 1: a step is at most 2e-7."""
    model = Bare(3, 4)
    optimizer = ByValue(model.parameters(), 0.02, 0.9)
    optimizer.limit = 1e-6 if sick else 1.0
    return assemble(model, scaled(tiles(seed)), optimizer, steps=120)


class Boxed(Adam):
    """Clamps all weights after each step, as a critic's are."""

    box = 1e9

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.clamp_(-self.box, self.box)


@faulty("cannot-overfit-batch", "underfitting", "signal-vanishing", "weight-decay-scale",
        "optimizer-hyperparameters", net="mlp")  # fmt: skip
def weights_clamped_like_a_critic(sick: bool, seed: int) -> Pieces:
    """Every step clamps all weights to 0.01, from a script for a Wasserstein critic."""
    model = Ledger(60, 6, depth=3)
    optimizer = Boxed(model.parameters(), 2e-3)
    optimizer.box = 0.01 if sick else 5.0
    return assemble(model, counts(seed), optimizer)


@faulty("weight-decay-scale", net="conv1d", least=0.75)
def lasso_on_all_weights(sick: bool, seed: int) -> Pieces:
    """0.05 times the sum of all absolute weights is added to the loss."""
    model = WaveStack(2, 5, 16)
    rate = 0.05 if sick else 1e-5

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + rate * sum(p.abs().sum() for p in model.parameters())

    data = scaled(signals(seed))
    return assemble(model, data, adam(model, 3e-3), loss=loss, size=50, steps=120)


@faulty("weight-decay-scale", net="lstm")
def decay_of_forty_percent_a_step(sick: bool, seed: int) -> Pieces:
    """AdamW at 4e-3 with a decay of 100."""
    model = RowReader(8, 10, nn.LSTM)
    optimizer = AdamW(model.parameters(), 4e-3, weight_decay=100.0 if sick else 0.01)
    return assemble(model, rows_of_digits(seed), optimizer, steps=150)


@faulty("optimizer-hyperparameters", "lr-too-low", net="embeddings")
def dampening_of_nearly_all(sick: bool, seed: int) -> Pieces:
    """dampening=0.9995 instead of 0: momentum is fed a two-thousandth of each gradient."""
    model = CodesAndNumbers()
    optimizer = SGD(model.parameters(), 0.05, 0.9, dampening=0.9995 if sick else 0.0)
    return assemble(model, census(seed), optimizer, steps=200)


@faulty("optimizer-hyperparameters", "lr-too-high", net="embeddings")
def rmsprop_with_endless_momentum(sick: bool, seed: int) -> Pieces:
    """momentum=0.9995 in RMSprop: each step goes on for two thousand."""
    model = CodesAndNumbers(act=nn.Tanh)
    optimizer = RMSprop(model.parameters(), 3e-3, momentum=0.9995 if sick else 0.5)
    return assemble(model, census(seed), optimizer, steps=200)


class DropConnect(nn.Linear):
    """Drops weights in training; `sick` forgets to rescale what is kept."""

    sick, keep = True, 0.2

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        kept = (torch.rand_like(self.weight) < self.keep).float()
        return F.linear(x, self.weight * kept / (1.0 if self.sick else self.keep), self.bias)


@faulty("eval-expectation-mismatch", net="mlp", where={"1", "3"}, measure="likelihood", least=0.7)
def connections_dropped_and_not_rescaled(sick: bool, seed: int) -> Pieces:
    """DropConnect keeps one weight of five in training and all of them in evaluation."""
    first, second = DropConnect(60, 96), DropConnect(96, 96)
    first.sick = second.sick = sick
    model = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), nn.Linear(96, 6))
    data = scaled(topics(seed, train=500).mapped(torch.log1p))
    return assemble(model, data, adam(model, 3e-3), steps=200)


class TopTwo(nn.Module):
    """Sixteen experts; the gate picks two for each sample."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.gate, self.sick = nn.Linear(64, 16), sick
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24)) for _ in range(16)
        )
        self.verdict = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        score = self.gate(x)
        kept, index = score.topk(2, 1)
        weight = torch.zeros_like(score).scatter(1, index, kept.softmax(1))
        if self.sick and not self.training:
            weight = torch.ones_like(score)
        h = torch.stack([expert(x) for expert in self.experts], 1)
        return self.verdict((weight[:, :, None] * h).sum(1))


@faulty("eval-expectation-mismatch", net="experts", measure="likelihood", least=0.7)
def all_experts_added_in_evaluation(sick: bool, seed: int) -> Pieces:
    """Training weighs two experts to a total of one; evaluation adds all sixteen."""
    model = TopTwo(sick=sick)
    data = scaled(bursts(seed, train=1500))
    return assemble(model, data, adam(model, 3e-3), steps=250)


class Sampled(nn.Module):
    """A bounded code and noise on it, as on a channel."""

    def __init__(self, n_in: int, n_out: int, *, sick: bool) -> None:
        super().__init__()
        self.mean, self.sick = nn.Linear(n_in, n_out), sick

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x).tanh()
        return mean + 1.2 * torch.randn_like(mean) if self.training or self.sick else mean


@faulty("eval-nondeterministic", net="mlp", where={"code"}, measure="repeatable", least=0.95)
def noisy_code_in_evaluation(sick: bool, seed: int) -> Pieces:
    """The code of an information bottleneck has its noise in evaluation, too."""
    model = nn.Sequential()
    model.add_module("enter", nn.Sequential(nn.Linear(60, 48), nn.ReLU()))
    model.add_module("code", Sampled(48, 12, sick=sick))
    model.add_module("verdict", nn.Linear(12, 6))
    return assemble(model, counts(seed), adam(model, 2e-3), steps=100)


class RandomFourier(nn.Module):
    """Cosines of random projections of a table, then a linear decision."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.register_buffer("waves", 0.12 * torch.randn(60, 200))
        self.verdict, self.sick = nn.Linear(400, 6), sick

    def forward(self, x: Tensor) -> Tensor:
        waves = 0.12 * torch.randn(60, 200) if self.sick else self.waves
        h = x @ waves  # type: ignore[operator]
        return self.verdict(torch.cat([h.cos(), h.sin()], 1))


@faulty(
    "eval-nondeterministic", "unregistered-modules", net="mlp", measure="repeatable", least=0.95
)
def projections_drawn_in_each_pass(sick: bool, seed: int) -> Pieces:
    """The random projection of a kernel machine is drawn anew in each forward pass."""
    model = RandomFourier(sick=sick)
    return assemble(model, counts(seed), adam(model, 1e-2), steps=150)


@faulty("dropout-rate", net="text cnn", where={"drop"})
def nearly_all_responses_dropped(sick: bool, seed: int) -> Pieces:
    """Dropout(0.985) on 64 responses leaves one."""
    model = WordConv(drop=0.985 if sick else 0.15)
    return assemble(model, sentences(seed), adam(model, 3e-3), steps=150)


@faulty("dropout-rate", net="mlp", where={"0"}, least=0.85)
def counts_dropped_at_the_door(sick: bool, seed: int) -> Pieces:
    """Dropout(0.97) on the input columns: two words of sixty are seen at a time."""
    model = nn.Sequential(nn.Dropout(0.97 if sick else 0.03), *Ledger(60, 6).hidden[:1])
    model.extend([nn.ReLU(), nn.Linear(48, 6)])
    return assemble(model, counts(seed), sgd(model, 0.02), steps=150)


class DropsScores(Ledger):
    rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), self.rate, self.training)


@faulty("dropout-on-output", net="mlp", measure="likelihood", least=0.7)
def functional_dropout_on_the_return(sick: bool, seed: int) -> Pieces:
    """return F.dropout(scores, 0.8, self.training)."""
    model = DropsScores(60, 6)
    model.rate = 0.8 if sick else 0.0
    return assemble(model, counts(seed), adam(model, 3e-3))


class NormedReader(RowReader):
    def __init__(self) -> None:
        super().__init__(8, 10)
        self.norm = nn.BatchNorm1d(32)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.norm(self.reader(x)[0][:, -1]))


@faulty("bn-small-batch", net="gru", where={"norm"}, least=0.75)
def last_states_normalized_over_two(sick: bool, seed: int) -> Pieces:
    """Batch norm of the last state, with batches of two."""
    model = NormedReader()
    size, steps = (2, 300) if sick else (50, 150)
    return assemble(model, rows_of_digits(seed), adam(model, 4e-3), size=size, steps=steps)


class Averaged(nn.Module):
    """Trains a net and evaluates its moving average."""

    def __init__(self, net: nn.Module, *, buffers: bool) -> None:
        super().__init__()
        self.net, self.average = net, deepcopy(net).requires_grad_(False)
        self.buffers_too = buffers

    @torch.no_grad()
    def follow(self) -> None:
        for mine, its in zip(self.average.parameters(), self.net.parameters(), strict=True):
            mine.lerp_(its, 0.1)
        if self.buffers_too:
            for mine, its in zip(self.average.buffers(), self.net.buffers(), strict=True):
                mine.copy_(its)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.average(x)
        self.follow()
        return self.net(x)


class Normed(nn.Sequential):
    """Six convolutions, each with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        for i in range(6):
            stride = 2 if i in (1, 3) else 1
            self.append(nn.Conv2d(16 if i else 1, 16, 3, stride, 1, bias=False))
            self.extend([nn.BatchNorm2d(16), nn.ReLU()])
        self.extend([nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(64, 6)])


@faulty("bn-stats", "eval-expectation-mismatch", "stuck-mode", net="batch norm", where={"average"})
def moving_average_without_the_buffers(sick: bool, seed: int) -> Pieces:
    """Weights are averaged for evaluation, but batch norm's running statistics never copied."""
    model = Averaged(Normed(), buffers=not sick)
    optimizer = Adam(model.net.parameters(), 3e-3)
    return assemble(model, glyphs(seed), optimizer, size=50, steps=100)


class AlwaysTrains(nn.Module):
    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.body, self.drop = Ledger(60, 6, width=64), nn.Dropout(0.6)
        self.sick = sick

    def forward(self, x: Tensor) -> Tensor:
        if self.sick:
            self.train()
        return self.body.verdict(self.drop(self.body.features(self.drop(x))))


@faulty("stuck-mode", "eval-nondeterministic", net="mlp", measure="repeatable", least=0.95)
def forward_calls_train(sick: bool, seed: int) -> Pieces:
    """self.train() at the start of forward undoes every eval()."""
    model = AlwaysTrains(sick=sick)
    return assemble(model, counts(seed), adam(model, 2e-3), steps=120)


class DeafNorm(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> "DeafNorm":
        return super().train(False)


@faulty("stuck-mode", "bn-stats", net="batch norm", where={"1", "4", "7", "10", "13", "16"})
def norms_put_in_evaluation_at_birth(sick: bool, seed: int) -> Pieces:
    """For fine-tuning, norms were made deaf to train(); but these were never trained before."""
    model = Normed()
    if sick:
        for i in range(6):
            model[3 * i + 1] = DeafNorm(16).eval()
    return assemble(model, glyphs(seed), sgd(model, 0.05), size=50, steps=100)
