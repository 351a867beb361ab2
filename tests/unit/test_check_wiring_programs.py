"""Nets whose layers are frozen, left out or mixed up: by mistake, and on purpose."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check.probes.designed import designed

Batches = list[tuple[Tensor, Tensor]]


def alarms(*args: Any, select: str, **more: Any) -> list[str]:
    torch.manual_seed(0)
    report = check(*args, select=[select], **more)
    return [f.where for f in report.findings if f.severity != "advice"]


def rows(classes: int = 4, n: int = 160) -> Batches:
    """Sequences of eight steps; the class is a direction that all steps lean to."""
    g = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, 1, 6, generator=g)
    y = torch.randint(0, classes, (n,), generator=g)
    x = centers[y] + 0.5 * torch.randn(n, 8, 6, generator=g)
    return list(zip(x.split(32), y.split(32), strict=True))


class Reader(nn.Module):
    def __init__(self, cell: type[nn.Module] = nn.GRU, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reader = cell(6, 16, **{"batch_first": True} | settings)
        self.verdict = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.reader(x)[0][:, -1])


def test_a_draw_is_told_from_what_somebody_wrote_down():
    kernel = torch.tensor([1.0, 2.0, 1.0])
    places = torch.arange(32.0)[:, None] / 10 ** (torch.arange(16) / 4)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    wrote = [
        (kernel[:, None] * kernel).expand(8, 1, 3, 3),
        torch.cat([places.sin(), places.cos()], 1),
        torch.kron(signs, torch.kron(signs, signs)),
        torch.full((3, 1, 3, 3), 1 / 9),
    ]
    assert all(designed(w) for w in wrote)
    torch.manual_seed(0)
    drawn = [nn.Linear(20, 8).weight, nn.Conv2d(3, 8, 3).weight, nn.Embedding(25, 16, 0).weight]
    drawn += [nn.init.orthogonal_(torch.empty(32, 32)), nn.init.sparse_(torch.empty(40, 30), 0.8)]
    drawn += [torch.full((8, 8), 0.02), torch.zeros(8, 8)]
    assert not any(designed(w) for w in drawn)


@pytest.mark.parametrize("drawn", [True, False])
def test_a_frozen_layer_is_an_alarm_unless_its_filter_was_made_by_hand(drawn):
    blur = torch.tensor([1.0, 2.0, 1.0]).expand(6, 1, 3) / 4
    model = nn.Sequential(nn.Conv1d(8, 6, 3), nn.ReLU(), nn.Conv1d(6, 6, 3, groups=6, bias=False))
    model.extend([nn.Flatten(), nn.Linear(12, 4)])
    if not drawn:
        model[2].weight.data.copy_(blur)
    model[2].requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    found = alarms(model, rows(), optimizer=torch.optim.Adam(trained, 1e-2), select="frozen-params")
    assert found == (["2"] if drawn else [])


@pytest.mark.parametrize("trained", [True, False])
def test_a_rate_of_zero_is_an_alarm_unless_the_net_knows_already(trained):
    model, data = (
        nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 4)),
        rows(),
    )
    if trained:
        fit = torch.optim.Adam(model.parameters(), 1e-2)
        for x, y in data * 10:
            fit.zero_grad()
            F.cross_entropy(model(x), y).backward()
            fit.step()
    groups = [
        {"params": model[1].parameters(), "lr": 0.0},
        {"params": model[3].parameters(), "lr": 1e-3},
    ]
    found = alarms(model, data, optimizer=torch.optim.Adam(groups), select="params-not-optimized")
    assert found == ([] if trained else ["1"])


class Proxies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(4, 16))

    def scores(self, out: Tensor) -> Tensor:
        return 10 * F.linear(F.normalize(out), F.normalize(self.points))

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.scores(out), y)


@pytest.mark.parametrize("bound", [True, False])
def test_weights_of_the_loss_are_not_layers_that_the_model_forgot(bound):
    model, loss = nn.Sequential(nn.Flatten(), nn.Linear(48, 16)), Proxies()
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], 1e-2)
    logits = loss.scores if bound else lambda out: loss.scores(out)
    settings = {"loss": loss, "optimizer": optimizer, "logits": logits}
    assert not alarms(model, rows(), select="unregistered-modules", **settings)


@pytest.mark.parametrize("first", [True, False])
def test_a_recurrent_layer_without_batch_first_reads_on_into_the_next_sample(first):
    found = alarms(Reader(batch_first=first), rows(), select="batch-leakage")
    assert found == ([] if first else ["reader"])


class Kinds(nn.Module):
    """A table whose first column is the number of a kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.verdict = nn.Embedding(5, 8), nn.Linear(13, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(torch.cat([self.table(x[:, 0].long()), x[:, 1:]], 1))


def test_numbers_of_kinds_are_not_stretched_beyond_their_table():
    data = [(torch.cat([(y % 5)[:, None].float(), x[:, 0, 1:]], 1), y) for x, y in rows()]
    report = check(Kinds(), data, select=["batch-leakage", "no-nonlinearity"])
    assert not report.findings
    assert not report.skipped


@pytest.mark.parametrize("bands", [3, 5])
@pytest.mark.parametrize("reshaped", [True, False])
def test_pixels_with_their_bands_last_may_be_permuted_not_reshaped(bands, reshaped):
    g = torch.Generator().manual_seed(0)
    coarse = torch.randn(64, bands, 4, 4, generator=g)
    x = F.interpolate(coarse, size=(16, 16), mode="bilinear")
    x = x.permute(0, 2, 3, 1).reshape(x.shape) if reshaped else x
    model = nn.Sequential(nn.Conv2d(bands, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 4))
    data = [(x, torch.arange(64) % 4)]
    assert alarms(model, data, select="input-layout") == (["the inputs"] if reshaped else [])
