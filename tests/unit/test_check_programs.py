"""Each rule on a sick program and on its healthy twin: the same program, fault removed."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check

Pieces = dict[str, Any]
CASES: dict[str, tuple[str, Callable[[bool], Pieces]]] = {}


def case(rule: str) -> Callable[[Callable[[bool], Pieces]], Callable[[bool], Pieces]]:
    def named(make: Callable[[bool], Pieces]) -> Callable[[bool], Pieces]:
        CASES[f"{rule}/{make.__name__}"] = (rule, make)
        return make

    return named


def blobs(
    n: int = 256, d: int = 16, k: int = 4, seed: int = 0, batch: int = 32
) -> list[tuple[Tensor, Tensor]]:
    """Well separated classes as batches of vectors."""
    g = torch.Generator().manual_seed(seed)
    centers = 2 * torch.randn(k, d, generator=torch.Generator().manual_seed(7))
    y = torch.randint(0, k, (n,), generator=g)
    x = centers[y] + torch.randn(n, d, generator=g)
    x = x / 2.2
    return [(x[i : i + batch], y[i : i + batch]) for i in range(0, n, batch)]


def pictures(
    n: int = 256, k: int = 4, side: int = 8, seed: int = 0, batch: int = 32
) -> list[tuple[Tensor, Tensor]]:
    """Smooth images of k patterns, normalized."""
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(k, 3, 3, 3, generator=torch.Generator().manual_seed(7))
    base = F.interpolate(base, size=side, mode="bilinear")
    y = torch.randint(0, k, (n,), generator=g)
    x = base[y] + 0.5 * F.interpolate(
        torch.randn(n, 3, 4, 4, generator=g), size=side, mode="bilinear"
    )
    x = x + 0.2 * torch.randn(x.shape, generator=g)
    return [(x[i : i + batch], y[i : i + batch]) for i in range(0, n, batch)]


def changed(
    batches: list[tuple[Tensor, Tensor]], change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> list[tuple[Tensor, Tensor]]:
    return [change(x, y) for x, y in batches]


class Mlp(nn.Module):
    def __init__(
        self,
        width: int = 32,
        depth: int = 2,
        k: int = 4,
        d: int = 16,
        act: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        sizes = [d] + [width] * depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], k)
        self.act = act
        self.last: Callable[[Tensor], Tensor] = lambda z: z

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return self.last(self.head(x))


class Cnn(nn.Module):
    def __init__(self, k: int = 4, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=momentum)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, k)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


def pieces(
    model: nn.Module | None = None, data: Any = None, val: Any = None, lr: float = 3e-3, **more: Any
) -> Pieces:
    model = model if model is not None else Mlp()
    image = isinstance(model, Cnn)
    given: Pieces = {
        "model": model,
        "train_batches": data if data is not None else (pictures() if image else blobs()),
        "val_batches": val if val is not None else (pictures(seed=1) if image else blobs(seed=1)),
        "loss": F.cross_entropy,
        "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
    }
    return given | more


@case("input-nonfinite")
def one_nan(sick: bool) -> Pieces:
    data = blobs()
    if sick:
        data[2][0][5, 3] = float("nan")
    return pieces(data=data)


@case("input-scale")
def pixels(sick: bool) -> Pieces:
    return pieces(data=changed(blobs(), lambda x, y: (x * (100 if sick else 1), y)))


@case("input-degenerate")
def black(sick: bool) -> Pieces:
    return pieces(Cnn(), changed(pictures(), lambda x, y: (x * (0 if sick else 1) + 1.0, y)))


@case("input-layout")
def reshaped(sick: bool) -> Pieces:
    data = pictures(side=16)
    if sick:
        data = changed(data, lambda x, y: (x.permute(0, 2, 3, 1).reshape(x.shape), y))
    return pieces(Cnn(), data)


@case("train-val-shift")
def val_not_normalized(sick: bool) -> Pieces:
    return pieces(
        Cnn(), val=changed(pictures(seed=1), lambda x, y: (x * 0.2 + 0.5 if sick else x, y))
    )


@case("train-val-leak")
def overlap(sick: bool) -> Pieces:
    return pieces(val=blobs()[:3] if sick else None)


@case("duplicate-samples")
def copies(sick: bool) -> Pieces:
    return pieces(data=blobs()[:2] * 4 if sick else blobs())


@case("labels-invalid")
def from_one(sick: bool) -> Pieces:
    return pieces(data=changed(blobs(), lambda x, y: (x, y + int(sick))))


@case("labels-uninformative")
def shuffled_labels(sick: bool) -> Pieces:
    torch.manual_seed(0)
    data = changed(blobs(1024), lambda x, y: (x, y[torch.randperm(len(y))] if sick else y))
    return pieces(
        data=data,
        val=changed(blobs(256, seed=1), lambda x, y: (x, y[torch.randperm(len(y))] if sick else y)),
    )


@case("label-noise")
def a_third_wrong(sick: bool) -> Pieces:
    g = torch.Generator().manual_seed(0)

    def wrong(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        hit = torch.rand(len(y), generator=g) < 0.35 * sick
        return x, torch.where(hit, (y + 1 + torch.randint(0, 3, y.shape, generator=g)) % 4, y)

    return pieces(data=changed(blobs(1024), wrong))


@case("label-leak")
def watermark(sick: bool) -> Pieces:
    def stamped(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x = 0.3 * x + torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
        x[:, 0] = y.float() if sick else x[:, 0]
        return x, y

    return pieces(data=changed(blobs(512), stamped))


@case("label-mapping-mismatch")
def other_order(sick: bool) -> Pieces:
    return pieces(val=changed(blobs(seed=1), lambda x, y: (x, (y + int(sick)) % 4)))


@case("class-imbalance")
def mostly_zero(sick: bool) -> Pieces:
    def rare(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        keep = (y == 0) | (torch.arange(len(y)) < (2 if sick else 99))
        return x[keep], y[keep]

    return pieces(data=changed(blobs(1024), rare))


@case("class-missing")
def left_out(sick: bool) -> Pieces:
    return pieces(data=changed(blobs(), lambda x, y: (x[y < 4 - sick], y[y < 4 - sick])))


@case("unshuffled-batches")
def sorted_labels(sick: bool) -> Pieces:
    x, y = (torch.cat(t) for t in zip(*blobs(), strict=True))
    order = y.argsort() if sick else torch.arange(len(y))
    return pieces(data=[(x[i], y[i]) for i in order.split(32)])


@case("augmentation-label-mismatch")
def blended(sick: bool) -> Pieces:
    g = torch.Generator().manual_seed(0)

    def mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        w = 0.35 + 0.3 * torch.rand(len(x), 1, generator=g)
        return (w * x + (1 - w) * x.roll(1, 0), y) if sick else (x, y)

    return pieces(data=changed(blobs(1024), mixed), val=blobs(512, seed=1))


class Jittered:
    def __init__(self, batches: list[tuple[Tensor, Tensor]], noise: float) -> None:
        self.batches, self.noise = batches, noise

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return ((x + self.noise * torch.randn_like(x), y) for x, y in self.batches)


@case("val-not-deterministic")
def noisy_val(sick: bool) -> Pieces:
    return pieces(val=Jittered(blobs(seed=1), 0.1 * sick))


@case("symmetric-init")
def constant_weights(sick: bool) -> Pieces:
    model = Mlp()
    if sick:
        for p in model.parameters():
            nn.init.constant_(p, 0.1)
    else:
        nn.init.zeros_(model.head.weight)  # a zero head is fine
    return pieces(model)


@case("signal-vanishing")
def tiny_weights(sick: bool) -> Pieces:
    model = Mlp(depth=4)
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=1e-3 if sick else (2 / layer.in_features) ** 0.5)
        nn.init.zeros_(layer.bias)
    return pieces(model, lr=1e-4)


@case("signal-exploding")
def huge_weights(sick: bool) -> Pieces:
    model = Mlp(depth=4)
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=1.0 if sick else (2 / layer.in_features) ** 0.5)
    return pieces(model)


@case("initial-loss-off")
def loud_head(sick: bool) -> Pieces:
    model = Mlp()
    with torch.no_grad():
        model.head.weight.mul_(60 if sick else 1)
    return pieces(model)


@case("dead-units")
def negative_bias(sick: bool) -> Pieces:
    model = Mlp()
    nn.init.constant_(model.layers[1].bias, -30.0 if sick else 0.0)
    return pieces(model)


@case("saturated-units")
def wide_tanh(sick: bool) -> Pieces:
    model = Mlp(act=torch.tanh)
    nn.init.normal_(model.layers[1].weight, std=8.0 if sick else 0.2)
    return pieces(model)


@case("no-nonlinearity")
def no_activation(sick: bool) -> Pieces:
    return pieces(Mlp(act=(lambda x: x) if sick else torch.relu))


@case("constant-output")
def zero_scale(sick: bool) -> Pieces:
    model = Mlp()
    model.act = lambda x: torch.relu(x) * (0.0 if sick else 1.0)
    return pieces(model)


@case("gradient-vanishing")
def deep_sigmoid(sick: bool) -> Pieces:
    return pieces(Mlp(depth=7, act=torch.sigmoid if sick else torch.relu), lr=1e-3)


@case("gradient-exploding")
def steep_layers(sick: bool) -> Pieces:
    model = Mlp(depth=5)
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=3.0 if sick else 0.25)
    return pieces(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01))


@case("gradient-nonfinite")
def log_of_zero(sick: bool) -> Pieces:
    model = Mlp()
    model.act = (lambda x: torch.relu(x) + 0 * torch.log(torch.relu(x))) if sick else torch.relu
    return pieces(model)


@case("no-gradient")
def detached(sick: bool) -> Pieces:
    model = Mlp()
    model.act = (lambda x: torch.relu(x).detach()) if sick else torch.relu
    return pieces(model)


@case("output-activation")
def softmax_twice(sick: bool) -> Pieces:
    model = Mlp()
    model.last = (lambda z: z.softmax(1)) if sick else (lambda z: z.log_softmax(1))
    return pieces(model)


@case("output-width")
def a_thousand_outputs(sick: bool) -> Pieces:
    return pieces(Mlp(k=20 if sick else 4))


@case("loss-reduction")
def summed(sick: bool) -> Pieces:
    return pieces(loss=nn.CrossEntropyLoss(reduction="sum" if sick else "mean"))


@case("loss-target-mismatch")
def rolled_targets(sick: bool) -> Pieces:
    return pieces(loss=lambda z, y: F.cross_entropy(z, y.roll(1) if sick else y))


@case("loss-sign")
def minus(sick: bool) -> Pieces:
    return pieces(loss=lambda z, y: (-1 if sick else 1) * F.cross_entropy(z, y))


@case("loss-ignores-samples")
def ignored_class(sick: bool) -> Pieces:
    return pieces(loss=nn.CrossEntropyLoss(ignore_index=0 if sick else -100))


@case("params-not-optimized")
def only_the_head(sick: bool) -> Pieces:
    model = Mlp()
    return pieces(model, optimizer=torch.optim.Adam((model.head if sick else model).parameters()))


@case("frozen-params")
def frozen_random(sick: bool) -> Pieces:
    model = Mlp()
    model.layers[0].requires_grad_(not sick)
    return pieces(model)


@case("lr-too-high")
def a_thousand_times(sick: bool) -> Pieces:
    model = Mlp()
    return pieces(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=50.0 if sick else 0.05, momentum=0.9),
    )


@case("lr-too-low")
def a_millionth(sick: bool) -> Pieces:
    return pieces(lr=1e-7 if sick else 3e-3)


@case("weight-decay-scale")
def heavy_decay(sick: bool) -> Pieces:
    model = Mlp()
    return pieces(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, weight_decay=1.0 if sick else 1e-4),
    )


@case("optimizer-hyperparameters")
def long_memory(sick: bool) -> Pieces:
    model = Mlp()
    return pieces(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9995 if sick else 0.9),
    )


class Unscaled(nn.Module):
    def __init__(self, scale: bool) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (torch.rand_like(x) > 0.4) / (0.6 if self.scale else 1.0)


@case("eval-expectation-mismatch")
def unscaled_dropout(sick: bool) -> Pieces:
    model = Cnn()
    model.drop = Unscaled(not sick)
    return pieces(model)


@case("eval-nondeterministic")
def dropout_in_eval(sick: bool) -> Pieces:
    model = Mlp()
    model.act = (lambda x: F.dropout(torch.relu(x), 0.3)) if sick else torch.relu
    return pieces(model)


@case("dropout-rate")
def nearly_all(sick: bool) -> Pieces:
    model = Cnn()
    model.drop.p = 0.95 if sick else 0.5
    return pieces(model)


@case("dropout-on-output")
def on_the_scores(sick: bool) -> Pieces:
    model = nn.Sequential(
        nn.Linear(16, 32),
        nn.ReLU(),
        *([nn.Linear(32, 4), nn.Dropout(0.3)] if sick else [nn.Dropout(0.3), nn.Linear(32, 4)]),
    )
    return pieces(model)


@case("bn-small-batch")
def batches_of_two(sick: bool) -> Pieces:
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    return pieces(model, blobs(128, batch=2 if sick else 32))


@case("bn-stats")
def frozen_average(sick: bool) -> Pieces:
    return pieces(Cnn(momentum=0.0 if sick else 0.01))


class Stubborn(Cnn):
    def train(self, mode: bool = True) -> "Stubborn":
        super().train(mode)
        self.drop.train()
        return self


@case("stuck-mode")
def always_training(sick: bool) -> Pieces:
    return pieces(Stubborn() if sick else Cnn())


@case("unused-parameters")
def forgotten_layer(sick: bool) -> Pieces:
    model = Mlp()
    if sick:
        model.extra = nn.Linear(8, 8)
    return pieces(model)


@case("unregistered-modules")
def plain_list(sick: bool) -> Pieces:
    model = Mlp()
    if sick:
        hidden = list(model.layers)
        del model.layers
        model.layers = hidden  # type: ignore[assignment]
    return pieces(model)


@case("batch-leakage")
def centered_on_the_batch(sick: bool) -> Pieces:
    model = Mlp()
    model.last = (lambda z: z - z.mean(0)) if sick else (lambda z: z - z.mean(1, keepdim=True))
    return pieces(model)


@case("shared-parameters")
def one_block_three_times(sick: bool) -> Pieces:
    block = nn.Linear(16, 16)
    blocks = [block] * 3 if sick else [nn.Linear(16, 16) for _ in range(3)]
    return pieces(nn.Sequential(*[m for b in blocks for m in (b, nn.ReLU())], nn.Linear(16, 4)))


@case("information-bottleneck")
def one_unit(sick: bool) -> Pieces:
    return pieces(
        nn.Sequential(nn.Linear(16, 1 if sick else 8), nn.Tanh(), nn.Linear(1 if sick else 8, 4))
    )


@case("step-raises")
def wrong_width(sick: bool) -> Pieces:
    return pieces(nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(9 if sick else 8, 4)))


@case("cannot-overfit-batch")
def one_answer_for_all(sick: bool) -> Pieces:
    model = Mlp()
    model.last = (lambda z: z.mean(0, keepdim=True).expand_as(z)) if sick else (lambda z: z)
    return pieces(model)


@pytest.mark.parametrize("name", CASES)
def test_the_sick_program_is_found(name):
    rule, make = CASES[name]
    torch.manual_seed(0)
    report = check(**make(True), select=[rule])
    assert [f for f in report.findings if f.rule == rule and f.severity != "advice"], report.skipped


@pytest.mark.parametrize("name", CASES)
def test_its_healthy_twin_is_quiet(name):
    rule, make = CASES[name]
    torch.manual_seed(0)
    report = check(**make(False), select=[rule])
    assert report.ok, str(report)
    assert not report.skipped, report.skipped
