"""Train a program as its user would, and measure what came out of it.

Every measure is between 0 and 1 and higher is better. A program that raises has measure 0.
"""

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Any

import torch
from benchmarks.check.program import Pieces
from torch import Tensor


def train(pieces: Pieces) -> None:
    """The plainest loop: `steps` updates over endless epochs, the schedule scaling the rates."""
    peaks = [group["lr"] for group in pieces.optimizer.param_groups]
    endless = chain.from_iterable(repeat(pieces.train))
    pieces.model.train()
    for step, (x, y, *_) in zip(range(pieces.steps), endless, strict=False):
        if pieces.schedule:
            for group, peak in zip(pieces.optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * pieces.schedule(step / pieces.steps)
        pieces.optimizer.zero_grad()
        pieces.loss(pieces.model(x), y).backward()
        pieces.optimizer.step()


@torch.no_grad()
def predictions(pieces: Pieces, batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
    pieces.model.eval()
    rows = []
    for x, y, *_ in batches:
        out = pieces.model(x)
        logits = pieces.logits(out) if pieces.logits else out
        rows.append((logits.argmax(1), y if y.ndim == 1 else y.argmax(1)))
    guesses, labels = zip(*rows, strict=True)
    return torch.cat(guesses), torch.cat(labels)


def _accuracy(pieces: Pieces, batches: Iterable[Any]) -> float:
    guesses, labels = predictions(pieces, batches)
    return (guesses == labels).float().mean().item()


def accuracy(pieces: Pieces) -> float:
    """Share of right answers on the program's own validation set (on the test set without one)."""
    batches = pieces.val if pieces.val is not None else pieces.test
    assert batches is not None
    return _accuracy(pieces, batches)


def clean(pieces: Pieces) -> float:
    """Share of right answers on clean test data: what the user really gets."""
    assert pieces.test is not None
    return _accuracy(pieces, pieces.test)


def honest(pieces: Pieces) -> float:
    """1 minus what validation promises above clean test data."""
    return 1 - max(0.0, accuracy(pieces) - clean(pieces))


def alone(pieces: Pieces) -> float:
    """Share of right answers when images come one at a time, as when the model is used."""
    assert pieces.val is not None
    singles = ((x[i : i + 1], y[i : i + 1]) for x, y, *_ in pieces.val for i in range(len(x)))
    return _accuracy(pieces, singles)


def worst_class(pieces: Pieces) -> float:
    """Share of right answers within the class that fares worst, on clean test data."""
    assert pieces.test is not None
    guesses, labels = predictions(pieces, pieces.test)
    right = (guesses == labels).float()
    return min(right[labels == k].mean().item() for k in labels.unique())


def repeatable(pieces: Pieces) -> float:
    """1 minus the share of answers that differ between two evaluations of one model."""
    assert pieces.val is not None
    first, second = (predictions(pieces, pieces.val)[0] for _ in "ab")
    return (first == second).float().mean().item()


def likelihood(pieces: Pieces) -> float:
    """Geometric mean of the probability that softmax gives to the right class."""
    assert pieces.val is not None
    pieces.model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y, *_ in pieces.val:
            out = pieces.model(x)
            logits = pieces.logits(out) if pieces.logits else out
            total += torch.nn.functional.cross_entropy(logits, y, reduction="sum").item()
            count += len(y)
    return float(torch.tensor(-total / count).exp())


MEASURES = {
    measure.__name__: measure
    for measure in (accuracy, clean, honest, alone, worst_class, repeatable, likelihood)
}


def outcome(pieces: Pieces, measure: str) -> tuple[float, float]:
    """Train, then the measure and the accuracy; both 0 if the program raises on the way."""
    try:
        train(pieces)
        return MEASURES[measure](pieces), accuracy(pieces)
    except (RuntimeError, IndexError, ValueError):
        return 0.0, 0.0
