"""Losses that pull the wrong way, rates and gradients out of hand; each with its healthy twin."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check.probes.gradients import rows_equal
from goodfit.check.probes.training import Run, Training, factors, step
from goodfit.check.program import Part, Program
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import find

Batches = list[tuple[Tensor, Tensor]]


def cut(x: Tensor, y: Tensor, size: int = 32) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))


def blobs(k: int = 4, n: int = 320, spread: float = 0.45) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    centers = torch.randn(k, 12, generator=g)
    y = torch.randint(0, k, (n,), generator=g)
    return centers[y] + spread * torch.randn(n, 12, generator=g), y


def directions(n: int = 320) -> tuple[Tensor, Tensor]:
    """Points, and a direction that is a smooth function of each."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 12, generator=g)
    y = torch.tanh(x @ torch.randn(12, 3, generator=g)) + 0.1
    return x, F.normalize(y)


def net(out: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, out))


def places(model: nn.Module, batches: Batches, select: str, **more: Any) -> list[str]:
    more.setdefault("optimizer", torch.optim.Adam(model.parameters(), 5e-3))
    report = check(model, batches, select=[select], **more)
    return [f.where for f in report.findings if f.severity != "advice"]


def closeness(output: Tensor, y: Tensor) -> Tensor:
    return F.cosine_similarity(output, y).mean()


@pytest.mark.parametrize(
    ("loss", "where"),
    [
        (closeness, ["the loss"]),
        (lambda output, y: -F.mse_loss(output, y), ["the loss"]),
        (lambda output, y: 1 - closeness(output, y), []),
        (F.mse_loss, []),
        (lambda output, y: F.smooth_l1_loss(output, y, beta=0.1), []),
        (lambda output, y: F.poisson_nll_loss(output, (y + 1.5).round()), []),
    ],
    ids=["cosine", "negative", "one minus cosine", "squares", "huber", "counts"],
)
def test_a_loss_of_numbers_moves_free_scores_towards_their_targets(loss, where):
    assert places(net(3), cut(*directions()), "loss-sign", loss=loss) == where


@pytest.mark.parametrize("power", [-1, 0, 1, 2])
def test_class_weights_by_frequency_make_the_rare_rarer(power):
    x, y = blobs(n=1200)
    keep = (y != 2) | (torch.arange(1200) % 4 == 0)
    share = y[keep].bincount().float() / keep.sum()
    weight = share**power
    loss = nn.CrossEntropyLoss(weight=weight / weight.mean())
    found = places(net(), cut(x[keep], y[keep], 80), "class-imbalance", loss=loss)
    assert found == (["class 2"] if power > 0 else [])


def test_scores_made_anew_from_one_logit_are_not_put_in_its_place():
    """At the start all logits are near zero, so that either way the loss is the same."""
    x, y = blobs(k=2)
    model = net(1)
    nn.init.normal_(model[2].weight, std=1e-4)
    nn.init.zeros_(model[2].bias)

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[:, 0], y.float())

    def pair(output: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(output), output], 1)

    assert places(model, cut(x, y), "loss-sign", loss=loss, logits=pair) == []


class Forgetful(torch.optim.SGD):
    def zero_grad(self, set_to_none: bool = True) -> None:
        pass


@pytest.mark.parametrize(("kind", "times"), [(Forgetful, 3), (torch.optim.SGD, 1)])
def test_gradients_that_are_never_cleared_add_up_as_in_the_users_loop(kind, times):
    model = net()
    program = Program(model, Part(cut(*blobs())), optimizer=kind(model.parameters(), 0.0))
    clone, (x, y) = program.clone(), program.train.batches[0]
    assert clone.optimizer is not None
    for _ in range(3):
        step(clone, clone.optimizer, x, y)
    F.cross_entropy(model(x), y).backward()
    for mine, theirs in zip(clone.model.parameters(), model.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad, times * theirs.grad)


@pytest.mark.parametrize(("end", "where"), [(1.38, ["the optimizer"]), (1.25, [])])
def test_a_run_that_only_gets_back_to_constant_scores_has_learned_nothing(end, where):
    """1.39 is the loss of constant scores; a tenth of the rate gets to 0.9."""
    own = Run(1.0, (1.6,) * 60, start=1.6, end=end, images=256)
    assert factors(own, {"weight": 6.0}, 1.386) == ([0.1, 0.01, 0.001] if where else [])
    slower = Run(0.1, (1.6,) * 60, start=1.6, end=0.9, images=256)
    seen = Seen()
    seen.add(Training(own, (slower,), None, 1.386, peak=0.2))
    assert [f.where for f in find(Rule, "lr-too-high")()(seen)] == where


def test_a_head_that_was_replaced_is_named():
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam(model[2].parameters(), 1e-2)
    model[2] = nn.Linear(32, 4)
    assert places(model, cut(*blobs()), "params-not-optimized", optimizer=optimizer) == ["2"]


def test_factors_of_units_that_start_equal_are_no_symmetry():
    assert not rows_equal(torch.ones(8, 1, 1, 1))
    assert rows_equal(torch.ones(8, 1))
    assert rows_equal(torch.ones(8, 2, 1, 1))


@pytest.mark.parametrize(("size", "where"), [(2, ["1"]), (4, []), (32, [])])
def test_batch_norm_over_two_images_and_over_four(size, where):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    assert places(model, cut(*blobs(), size), "bn-small-batch") == where


@pytest.mark.parametrize(("size", "shift", "where"), [(12, -1.0, []), (64, -1.0, ["0"])])
def test_units_are_called_dead_over_enough_images_only(size, shift, where):
    """Two thirds of the units are silent on this data."""
    model = net()
    with torch.no_grad():
        model[0].bias[:22] = 30 * shift
    found = places(
        model,
        cut(*blobs(n=384), size),
        "dead-units",
        optimizer=torch.optim.SGD(model.parameters(), 0),
    )
    assert found == where
