"""Large nets are looked at with part of a batch, and what is said of them stays right."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from goodfit.check import check
from goodfit.check import portion as portions
from goodfit.check.portion import FEWEST
from goodfit.check.probes.training import training
from goodfit.check.program import Part, Program
from goodfit.check.work import Work

Batches = list[tuple[Tensor, Tensor]]


class Clock:
    """Stands in for `time` where portions are chosen, so that no machine's speed counts."""

    seconds = 0.0

    @classmethod
    def thread_time(cls) -> float:
        return cls.seconds


class Slow(nn.Module):
    """A small net whose every image costs seconds on the made-up clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        Clock.seconds += self.seconds * len(x)
        return self.net(x)  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def made_up_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "time", Clock)
    monkeypatch.setattr(portions, "STEP", 0.01)


def blobs() -> Batches:
    g = torch.Generator().manual_seed(0)
    centers = torch.randn(4, 16, generator=g)
    y = torch.randint(0, 4, (192,), generator=g)
    x = centers[y] + 0.5 * torch.randn(192, 16, generator=g)
    return list(zip(x.split(64), y.split(64), strict=True))


@pytest.mark.parametrize(
    ("seconds", "images"),
    [(0.0, None), (4e-4, 24), (4e-3, FEWEST)],
    ids=["quick", "slow", "very slow"],
)
def test_the_portion_keeps_a_step_short(seconds, images):
    assert portions.portion(Program(Slow(seconds), Part(blobs()))) == images


@pytest.mark.parametrize(("seconds", "share"), [(0.0, 1.0), (1e-3, FEWEST / 64)])
def test_a_short_training_on_part_of_a_batch_has_part_of_the_rate(seconds, share):
    torch.manual_seed(0)
    model = Slow(seconds)
    rates: list[float] = []

    class Noted(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            rates.append(self.param_groups[0]["lr"])
            super().step(closure)

    work = Work(Program(model, Part(blobs()), optimizer=Noted(model.parameters(), 1e-4)))
    portions.shorten(work)
    found = training(work)
    assert set(rates[: len(found.own.losses)]) == {1e-4 * share}
    assert {len(x) for x, _ in work.program.train.batches} == {round(64 * share)}
    assert (found.others == ()) is (share < 1)  # a rate is not blamed for a step of few images


def test_a_slow_net_is_found_healthy_and_its_batches_are_known_whole():
    torch.manual_seed(0)
    model = Slow(1e-3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    report = check(model, blobs(), optimizer=optimizer)
    assert [f.rule for f in report.findings if f.severity != "advice"] == []
