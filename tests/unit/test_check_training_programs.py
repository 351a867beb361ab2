"""Losses that miss their targets, steps that go astray, and evaluation that is another net."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check

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
