"""Losses that miss their targets, steps that go astray, and evaluation that is another net."""

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check.probes.steps import ceiling, fast_place
from goodfit.check.probes.training import Run, Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import find

Batches = list[tuple[Tensor, Tensor]]


def alarms(model: nn.Module, select: str, **more: Any) -> list[str]:
    given = {"train_batches": blobs(), "loss": F.cross_entropy} | more
    given.setdefault("optimizer", torch.optim.Adam(model.parameters(), 5e-3))
    report = check(model, select=[select], **given)
    return [f.where for f in report.findings if f.severity != "advice"]


def blobs(classes: int = 4, n: int = 256) -> Batches:
    """Well separated classes as batches of vectors."""
    g = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, 16, generator=g)
    y = torch.randint(0, classes, (n,), generator=g)
    x = centers[y] + 0.5 * torch.randn(n, 16, generator=g)
    return list(zip(x.split(32), y.split(32), strict=True))


def mlp(out: int = 4, first: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(first or nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, out))


class DropsWeights(nn.Linear):
    """Keeps a fifth of its weights in training; `scale` makes up for it."""

    scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        kept = (torch.rand_like(self.weight) < 0.2).float()
        return F.linear(x, self.scale * self.weight * kept, self.bias)


@pytest.mark.parametrize(("scale", "where"), [(1.0, ["0"]), (5.0, [])])
def test_a_layer_that_drops_weights_is_judged_by_itself(scale, where):
    model = mlp(first=DropsWeights(16, 32))
    model[0].scale = scale  # type: ignore[assignment]
    assert alarms(model, "eval-expectation-mismatch") == where


class Handmade(torch.optim.Optimizer):
    def __init__(self, params: Any, sign: float) -> None:
        super().__init__(params, {"lr": 0.1})
        self.sign = sign

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=self.sign * group["lr"])


@pytest.mark.parametrize(("sign", "where"), [(1.0, ["the optimizer"]), (-1.0, [])])
def test_a_step_that_adds_the_gradient_goes_uphill(sign, where):
    model = mlp()
    assert alarms(model, "loss-sign", optimizer=Handmade(model.parameters(), sign)) == where


def test_a_step_uphill_on_a_likelihood_is_right():
    model = mlp()
    loss = lambda out, y: -F.cross_entropy(out, y)  # noqa: E731
    found = alarms(model, "loss-sign", loss=loss, optimizer=Handmade(model.parameters(), 1.0))
    assert found == ["the loss"]  # its sign is what is turned, and said once


class Shadowed(nn.Module):
    """Trains a net and evaluates a copy that follows it, at `rate`, with or without its buffers."""

    def __init__(self, rate: float, *, buffers: bool) -> None:
        super().__init__()
        self.net = mlp()
        self.net.insert(1, nn.BatchNorm1d(32))
        self.shadow = deepcopy(self.net).requires_grad_(False)
        self.rate, self.buffers_too = rate, buffers

    @torch.no_grad()
    def follow(self) -> None:
        for mine, its in zip(self.shadow.parameters(), self.net.parameters(), strict=True):
            mine.lerp_(its, self.rate)
        for mine, its in zip(self.shadow.buffers(), self.net.buffers(), strict=True):
            mine.copy_(its if self.buffers_too else mine)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.shadow(5 * x + 20)  # statistics that are never copied matter
        self.follow()
        return self.net(5 * x + 20)


@pytest.mark.parametrize(
    ("rate", "buffers", "where"),
    [(0.2, False, ["shadow"]), (0.2, True, []), (1e-3, True, []), (0.0, True, [])],
)
def test_an_average_that_evaluation_uses_must_arrive_whole(rate, buffers, where):
    """A slow one, and one that the user's own loop moves, are still on their way."""
    model = Shadowed(rate, buffers=buffers)
    optimizer = torch.optim.Adam(model.net.parameters(), 1e-2)
    found = alarms(model, "eval-expectation-mismatch", optimizer=optimizer)
    assert found == where


class AddsAll(nn.Module):
    """Weighs parts to a total of one in training; evaluation may add them all."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList(nn.Linear(16, 32) for _ in range(8))
        self.head, self.sick = nn.Linear(32, 4), sick

    def forward(self, x: Tensor) -> Tensor:
        h = torch.stack([torch.relu(part(x)) for part in self.parts])
        return self.head(h.sum(0) if self.sick and not self.training else h[0])


@pytest.mark.parametrize(("sick", "where"), [(True, ["the model"]), (False, [])])
def test_parts_that_only_evaluation_adds_are_a_mismatch(sick, where):
    assert alarms(AddsAll(sick=sick), "eval-expectation-mismatch") == where


def test_slow_batch_norms_lag_behind_by_nature():
    model = mlp()
    model.insert(1, nn.BatchNorm1d(32, momentum=0.01))
    far = [(5 * x + 3, y) for x, y in blobs()]
    assert not alarms(model, "eval-expectation-mismatch", train_batches=far)


def squares(out: Tensor, y: Tensor) -> Tensor:
    return (out - y).square().mean()


@pytest.mark.parametrize(
    ("loss", "where"), [(squares, ["the loss"]), (lambda out, y: squares(out[:, 0], y), [])]
)
def test_a_column_less_a_row_is_a_table_of_all_pairs(loss, where):
    nearest = lambda out: -(out - torch.arange(4)).square()  # noqa: E731
    assert alarms(mlp(1), "loss-target-mismatch", loss=loss, logits=nearest) == where


@pytest.mark.parametrize(("low", "where"), [(0, ["class 0"]), (-1, [])])
def test_a_hinge_loss_on_labels_of_zero_ignores_them(low, where):
    def hinge(out: Tensor, y: Tensor) -> Tensor:
        return torch.relu(1 - torch.where(y == 1, 1, low) * out[:, 0]).mean()

    two = lambda out: torch.cat([-out, out], 1)  # noqa: E731
    given = {"loss": hinge, "logits": two, "train_batches": blobs(2)}
    assert alarms(mlp(1), "loss-ignores-samples", **given) == where


@pytest.mark.parametrize(
    ("share", "largest", "where"), [(0.2, False, ["the loss"]), (0.2, True, []), (0.9, False, [])]
)
def test_a_loss_of_the_easiest_few_ignores_the_others(share, largest, where):
    """The hardest few, and all but the hardest, are what is meant."""

    def mined(out: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(out, y, reduction="none")
        return each.topk(int(share * len(each)), largest=largest).values.mean()

    assert alarms(mlp(), "loss-ignores-samples", loss=mined) == where


def test_mining_leaves_a_rare_class_out_by_luck_only():
    def mined(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y, reduction="none").topk(max(1, len(y) // 20)).values.mean()

    rare = [(x, y.where(y > 0, 1).index_fill(0, torch.tensor([0]), 0)) for x, y in blobs()]
    assert not alarms(mlp(), "loss-ignores-samples", loss=mined, train_batches=rare)


class Boxed(torch.optim.Adam):
    """Clamps all weights after each step."""

    box = 0.01

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.clamp_(-self.box, self.box)


@pytest.mark.parametrize(("box", "where"), [(0.01, ["the optimizer"]), (1.0, [])])
def test_a_step_that_clamps_nearly_all_of_the_weights_away(box, where):
    model = nn.Sequential(mlp(32), nn.ReLU(), mlp(4, nn.Linear(32, 32)))
    optimizer = Boxed(model.parameters(), 2e-3)
    optimizer.box = box
    assert alarms(model, "weight-decay-scale", optimizer=optimizer) == where


def test_only_a_group_far_faster_than_all_others_is_slowed_for_a_trial():
    assert ceiling([1.0, 5e-3, 1e-3]) == 5e-3
    assert ceiling([1e-3, 1e-3]) is ceiling([1e-3]) is ceiling([0.01, 0.0, 1e-3]) is None
    model = mlp()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters()}]
    assert fast_place(model, torch.optim.SGD(groups, 0.1), [1e-3, 1.0]) == "2"


@pytest.mark.parametrize(("end", "right", "where"), [(0.2, 0.98, ["0"]), (0.6, 0.75, [])])
def test_a_group_is_too_fast_where_the_next_ones_rate_is_far_better(end, right, where):
    """A slow trunk below a fast head is fine-tuning: as slow as the trunk, the head learns less."""
    given = {"start": 1.4, "images": 256, "accuracy_start": 0.25}
    own = Run(1.0, (1.4, 0.6), end=0.6, accuracy_end=0.75, **given)
    level = Run(1.0, (1.4, end), end=end, accuracy_end=right, **given)
    seen = Seen(Training(own, level=level, level_at="0", level_lr=0.005))
    assert [f.where for f in find(Rule, "lr-too-high")()(seen)] == where


@pytest.mark.parametrize(("decay", "where"), [(20.0, ["the optimizer"]), (0.01, [])])
def test_adagrad_that_stops_at_once(decay, where):
    model = mlp()
    optimizer = torch.optim.Adagrad(model.parameters(), 0.05, lr_decay=decay)
    assert alarms(model, "optimizer-hyperparameters", optimizer=optimizer) == where


@pytest.mark.parametrize(("size", "where"), [(1e-5, ["0"]), (0.7, [])])
def test_frozen_weights_near_zero_let_nothing_through(size, where):
    """Weights of another size than any draw's count as trained."""
    model = mlp(first=nn.Linear(16, 32))
    with torch.no_grad():
        model[0].weight.copy_(size * torch.randn(32, 16) + size)  # type: ignore[operator]
    model[0].requires_grad_(False)
    assert alarms(model, "frozen-params") == where


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_scores_that_are_cosines_need_a_scale(scale):
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(12, 32), nn.ReLU())
            self.head = nn.Linear(32, 6, bias=False)

        def forward(self, x):
            return scale * F.linear(F.normalize(self.body(x)), F.normalize(self.head.weight))

    torch.manual_seed(0)
    y = torch.arange(384) % 6
    x = 2 * nn.functional.one_hot(y, 12) + torch.randn(384, 12)
    batches = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 384, 64)]
    model = Cosine()
    found = check(
        model, batches, optimizer=torch.optim.Adam(model.parameters(), 1e-3),
        select=("output-activation",),
    ).findings  # fmt: skip
    assert bool(found) == (scale == 1.0)


class Vanishing(nn.Module):
    """Dropout that overwrites its input, and forgets to make up for it when `scale` is False."""

    def __init__(self, scale: bool) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        x *= torch.rand_like(x) < 0.6
        return x.div_(0.6) if self.scale else x


@pytest.mark.parametrize(
    ("drop", "where"),
    [(nn.Dropout(0.4, inplace=True), []), (Vanishing(True), []), (Vanishing(False), ["2"])],
)
def test_layers_that_overwrite_their_input_are_judged_on_copies(drop, where):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), drop, nn.Linear(32, 4))
    assert alarms(model, "eval-expectation-mismatch") == where


class Rounded(nn.Module):
    """Rounds to a grid over the range seen so far, which moves while training."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.tensor(1e-3))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.largest.lerp_(x.detach().abs().max(), 0.3)
        step = self.largest / 8
        return x + ((x / step).round().clamp(-8, 8) * step - x).detach()


def test_a_range_that_moves_is_no_randomness():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), Rounded(), nn.ReLU(), nn.Linear(32, 4))
    assert alarms(model, "eval-expectation-mismatch") == []


class Complex(nn.Module):
    """Half of the numbers turned by complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.randn(16, 8, dtype=torch.complex64) / 4)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        turned = x.to(torch.complex64) @ self.turn
        return self.head(torch.cat([turned.real, turned.imag], 1).relu())  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:Casting complex")
def test_complex_weights_go_through_every_step():
    torch.manual_seed(0)
    model = Complex()
    report = check(model, blobs(), optimizer=torch.optim.Adam(model.parameters(), 5e-3))
    assert [f.rule for f in report.findings if f.severity != "advice"] == []
    assert "step-raises" not in report.skipped


class Views(nn.Module):
    """The average of the scores of several views, (n, views, 16), or of one, (n, 16)."""

    def __init__(self, single: bool) -> None:
        super().__init__()
        self.net, self.single = mlp(), single

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2 and not self.single:
            raise ValueError("one view is not enough")
        return self.net(x if x.ndim == 3 else x[:, None]).mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("single", "where"), [(True, []), (False, ["val inputs"])])
def test_val_of_another_shape_is_fine_where_the_net_takes_both(single, where):
    two = [(torch.stack([x, x + 0.1 * torch.randn_like(x)], 1), y) for x, y in blobs()]
    assert alarms(Views(single), "train-val-shift", train_batches=two, val_batches=blobs()) == where
