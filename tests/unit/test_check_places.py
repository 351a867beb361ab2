"""The place of a finding is where it can be mended, not where it shows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.check import check


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(-F.relu(x))


class Distances(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.points, self.scale = nn.Parameter(torch.randn(4, 16)), scale

    def forward(self, x: Tensor) -> Tensor:
        return -self.scale * (x[:, None] - self.points).square().sum(2)


def place(rule: str, *layers: nn.Module) -> list[str]:
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, 4, (128,), generator=g)
    x = torch.randn(4, 12, generator=g)[y] + 0.3 * torch.randn(128, 12, generator=g)
    data = list(zip(x.split(64), y.split(64), strict=True))
    report = check(nn.Sequential(*layers), data, select=[rule])
    return [f.where for f in report.findings if f.severity != "advice"]


def test_units_die_at_the_layer_or_the_norm_or_the_activation_that_kills_them():
    torch.manual_seed(0)
    shut = nn.Linear(12, 16)
    nn.init.constant_(shut.bias, -9.0)
    assert place("dead-units", shut, nn.ReLU(), nn.Linear(16, 4)) == ["0"]
    high = nn.Threshold(4.0, 0.0)
    behind = (nn.Linear(12, 16), nn.LayerNorm(16), high, nn.Linear(16, 4))
    assert place("dead-units", *behind) == ["1"]
    assert place("dead-units", nn.Linear(12, 16), Turned(), nn.Linear(16, 4)) == ["1"]
    twice = (nn.Linear(12, 16), nn.ReLU(), nn.ReLU(), nn.Linear(16, 4))
    assert not place("dead-units", *twice)


def test_an_activation_that_bends_nothing_is_named_itself():
    torch.manual_seed(0)
    layers = (nn.Linear(12, 16), nn.LeakyReLU(1.0), nn.Linear(16, 4))
    assert place("no-nonlinearity", *layers) == ["1"]


def test_a_first_loss_is_off_where_the_scores_are_made_though_by_no_layer():
    torch.manual_seed(0)
    layers = (nn.Linear(12, 16), nn.ReLU())
    assert place("initial-loss-off", *layers, Distances(50.0)) == ["2"]
    big = nn.Linear(16, 4)
    nn.init.normal_(big.weight, std=30.0)
    assert place("initial-loss-off", *layers, big) == ["2"]
