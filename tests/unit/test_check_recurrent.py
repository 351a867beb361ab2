"""Recurrent layers that start badly, and the usual good starts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check.probes.recurrent import inside, twins


class Reader(nn.Module):
    def __init__(self, cell: type[nn.Module] = nn.GRU, **settings: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reader = cell(6, 16, batch_first=True, **settings)
        self.verdict = nn.Linear(32 if settings.get("bidirectional") else 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.reader(x)[0][:, -1])


def rows() -> list[tuple[Tensor, Tensor]]:
    """Sequences of eight steps; the class is a direction that all steps lean to."""
    g = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 1, 6, generator=g)
    y = torch.randint(0, 4, (160,), generator=g)
    x = centers[y] + 0.5 * torch.randn(160, 8, 6, generator=g)
    return list(zip(x.split(32), y.split(32), strict=True))


def constant(reader: nn.Module) -> None:
    for p in reader.parameters():
        nn.init.constant_(p, 0.05)


def huge(reader: nn.Module) -> None:
    for p in reader.parameters():
        nn.init.normal_(p, std=6.0)


def closed(reader: Any) -> None:
    reader.bias_ih_l0.data[16:32] = 12.0


def growing(reader: Any) -> None:
    reader.weight_hh_l0.data.copy_(5 * torch.eye(16))


def remembering(reader: Any) -> None:
    """Gates that forget slowly, each unit at a pace of its own."""
    pace = torch.linspace(0.1, 5, 16)
    reader.bias_ih_l0.data[:16], reader.bias_ih_l0.data[16:32] = -pace, pace


@pytest.mark.parametrize(
    ("rule", "cell", "start", "settings"),
    [
        ("symmetric-init", nn.RNN, constant, {}),
        ("symmetric-init", nn.LSTM, constant, {"bidirectional": True}),
        ("saturated-units", nn.LSTM, huge, {}),
        ("saturated-units", nn.GRU, huge, {"num_layers": 2}),
        ("signal-vanishing", nn.GRU, closed, {}),
        ("signal-exploding", nn.RNN, growing, {"nonlinearity": "relu"}),
    ],
)
def test_a_bad_start_of_a_recurrent_layer_is_found_there(rule, cell, start, settings):
    model = Reader(cell, **settings)
    start(model.reader)
    report = check(model, rows(), select=[rule])
    assert [f.where for f in report.findings if f.severity != "advice"] == ["reader"]


@pytest.mark.parametrize("start", [None, remembering])
def test_good_starts_are_left_alone(start):
    model = Reader(nn.LSTM)
    if start is not None:
        start(model.reader)
    wanted = ["symmetric-init", "saturated-units", "signal-vanishing", "signal-exploding"]
    report = check(model, rows(), select=wanted)
    assert not report.findings
    assert not report.skipped


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("op", ["gru", "lstm", "rnn_tanh"])
def test_gates_are_open_where_the_weights_are_small(op, first):
    cell = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn_tanh": nn.RNN}[op]
    layer, x = cell(6, 8, 2, batch_first=first), torch.randn(5, 7, 6)
    opened = []
    for scale in (0.01, 1.0, 40.0):
        weights = [scale * p.detach() for p in layer.parameters()]
        start = torch.zeros(2, 5 if first else 7, 8)
        args = (x, (start, start) if op == "lstm" else start, weights, True, 2, 0.0, True)
        args = (*args, False, first)
        opened.append(inside(getattr(torch, op), op, args, torch.randn(5, 7, 8))["open"])
    assert opened[0] >= opened[1] > 0.5 > 0.2 > opened[2]


def test_units_with_one_state_are_twins_and_zeros_are_not():
    one = torch.randn(3, 5, 1)
    assert twins(one.expand(3, 5, 8))
    assert twins(torch.cat([one.expand(3, 5, 8), -one.expand(3, 5, 8)], 2))
    assert not twins(torch.zeros(3, 5, 8))
    assert not twins(torch.randn(3, 5, 8))


def test_the_last_step_of_two_directions_is_mentioned_only():
    model = Reader(nn.GRU, bidirectional=True)
    report = check(model, rows(), select=["no-gradient"])
    assert [(f.severity, f.where) for f in report.findings] == [("advice", "reader")]
