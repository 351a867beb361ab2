"""A changed number is a breaking change: what each ingredient computes from fixed input.

When a change is meant, write the numbers anew and say so in the changelog:
python tests/contract/test_shelves_golden.py
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from goodfit.ingredient import Ingredient, find, names
from goodfit.init import Init
from goodfit.losses import Loss
from goodfit.optim import Optim
from goodfit.penalties import Penalty
from goodfit.preprocess import Preprocess
from goodfit.schedules import Schedule

FILE = Path(__file__).with_name("shelves_golden.json")
SHELVES = {base.__module__.rpartition(".")[2]: base for base in (Loss, Optim, Penalty, Preprocess)}
SHELVES["schedules"], SHELVES["init"] = Schedule, Init


def ramp(*shape: int) -> Tensor:
    """Numbers in 0..1 without pattern, the same on every machine."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count, dtype=torch.float64) * 0.6180339887) % 1).float().view(shape)


def net() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(ramp(*p.shape) - 0.5)
    return model


def stepped(settings: Optim) -> list[float]:
    model = net()
    optimizer = settings(model)
    for _ in range(6):
        optimizer.zero_grad()
        logits = model(ramp(5, 2, 4, 4))
        nn.functional.cross_entropy(logits, torch.arange(5) % 3).backward()
        optimizer.step()
    return [p.double().pow(2).sum().item() for p in model.parameters()]


def initialized(settings: Init) -> list[float]:
    """Sizes only: the draws are torch's."""
    model = nn.Sequential(nn.Conv2d(3, 24, 2), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 49, 600))
    if settings.name == "residual":  # it wants a shortcut, and has tests of its own
        return []
    torch.manual_seed(0)
    settings(model, ramp(16, 3, 8, 8)) if settings.needs_images else settings(model)
    return [round(model[i].weight.std().item(), 2) for i in (0, 3)]


def numbers(settings: Ingredient) -> list[float]:
    """What an ingredient makes of fixed input, in a few numbers."""
    if isinstance(settings, Schedule):
        return [settings(t / 10) for t in range(11)]
    if isinstance(settings, Loss):
        return settings.per_sample(6 * ramp(4, 3) - 3, ramp(4, 3).softmax(1)).tolist()
    if isinstance(settings, Penalty):
        return [settings(net()).item()]
    if isinstance(settings, Preprocess):
        images = (ramp(50, 2, 3, 3) * 255).byte()
        y = settings.fitted(images)()(images)
        return [*y[7].abs().sum((1, 2)).tolist(), y.std().item()]
    if isinstance(settings, Optim):
        return stepped(settings)
    assert isinstance(settings, Init)
    return initialized(settings)


def all_numbers() -> dict[str, list[float]]:
    return {
        f"{shelf}/{kind}": numbers(find(base, kind)())
        for shelf, base in sorted(SHELVES.items())
        for kind in names(base)
    }


GOLDEN = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.mark.parametrize("place", GOLDEN)
def test_the_numbers_are_those_of_the_last_release(place):
    shelf, kind = place.split("/")
    found = numbers(find(SHELVES[shelf], kind)())
    assert found == pytest.approx(GOLDEN[place], rel=2e-3, abs=1e-5)


if __name__ == "__main__":
    rounded = {k: [float(f"{x:.6g}") for x in v] for k, v in all_numbers().items()}
    rows = (f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in rounded.items())
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
