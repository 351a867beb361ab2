"""Nets that read little of their input, and where a way through whole numbers goes on."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check.probes.reading import reading
from goodfit.check.probes.samples import fingerprints
from goodfit.check.probes.trace import trace
from goodfit.check.program import Part, Program
from goodfit.check.work import Work

Batches = list[tuple[Tensor, Tensor]]


def waves(classes: int = 6, n: int = 192) -> Batches:
    """Waves in 32 steps; the class is how fast they turn."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(0, classes, (n,), generator=g)
    turn = (1 + y[:, None]) * torch.linspace(0, 3, 32) + 6 * torch.rand(n, 1, generator=g)
    x = turn.sin() + 0.1 * torch.randn(n, 32, generator=g)
    return list(zip(x.split(64), y.split(64), strict=True))


class Net(nn.Module):
    """Sees its input through `view`."""

    def __init__(self, view: Any, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.view = view
        self.near, self.far = nn.Linear(width, 24), nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.far(torch.relu(self.near(self.view(x))))


def whole(x: Tensor) -> Tensor:
    return x


def averaged(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).expand_as(x)


def sliced(x: Tensor) -> Tensor:
    return x[:, :3]


@pytest.mark.parametrize(
    ("view", "width", "seen", "unread"),
    [(whole, 32, None, 0.0), (averaged, 32, 1, 0.0), (sliced, 3, 3, 29 / 32)],
)
def test_what_is_read_is_counted_and_tried(view, width, seen, unread):
    model, data = Net(view, width), waves()
    found = reading(Work(Program(model, Part(data))), data[0][0])
    assert found.unread == pytest.approx(unread)
    assert found.numbers == seen or (seen is None and (found.numbers or 99) > 12)


@pytest.mark.parametrize(("view", "width"), [(whole, 32), (averaged, 32), (sliced, 3)])
def test_a_net_that_reads_too_little_is_told_so_at_its_first_layer(view, width):
    report = check(Net(view, width), waves(), select=["information-bottleneck"])
    found = [f.where for f in report.findings]
    assert found == ([] if view is whole else ["near"])


class Binned(nn.Module):
    """A learned projection cut into bins that have vectors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.project, self.bins = nn.Linear(32, 3), nn.Embedding(5, 8)
        self.verdict = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bins(self.project(x).floor().clamp(-2, 2).long() + 2)
        return self.verdict(torch.relu(h).flatten(1))


def test_the_way_goes_on_through_computed_indices():
    model, data = Binned(), waves()
    seen = trace(model, data[0][0], lambda out: out)
    assert [node.params[0] for node in seen.back(seen.output) if node.params] == [
        "verdict.weight",
        "bins.weight",
        "project.weight",
    ]
    report = check(model, data, select=["no-gradient", "output-activation"])
    assert [(f.rule, f.where) for f in report.findings] == [("no-gradient", "project")]


@pytest.mark.parametrize("shape", [(3,), (3, 33, 31), (1, 8, 8)])
def test_equal_samples_have_equal_fingerprints_whatever_stands_beside_them(shape):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(301, *shape, generator=random)
    x[7, 0] = 0.0
    twice = torch.cat([x, x.flip(0)])
    twice[7] *= torch.where(twice[7] == 0, -1.0, 1.0)  # minus zero is zero
    marks = fingerprints(twice)
    assert torch.equal(marks[:301], marks[301:].flip(0))
    assert len(marks[:301].unique()) == 301
    x[5].flatten()[-1] += 1e-6 * x[5].flatten()[-1].abs() + 1e-7
    assert (fingerprints(x) != marks[:301]).nonzero().flatten().tolist() == [5]
