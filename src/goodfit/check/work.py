"""What probes share: the program, a few batches cut to a bounded size, and the clones they made."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from goodfit.check.program import Clone, Program

CELLS = 2_000_000  # input values in the batch that layers are looked at with


@dataclass
class Work:
    """The desk of one check. `after` is the clone that a few real optimizer steps trained."""

    program: Program
    seconds: float = 20.0
    started: float = field(default_factory=time.thread_time)
    step_seconds: float = 0.1
    share: float = 1.0  # of each batch that the probes work with, where whole ones take too long
    most: int = 256  # images in a pass without gradients
    after: Clone | None = None
    learned: bool = False  # at some learning rate
    course: list[list[float]] | None = None  # learning rates that a scheduler gives, once played

    def left(self) -> float:
        """Seconds that probes may still take."""
        return self.seconds - (time.thread_time() - self.started)

    def batch(self, number: int = 0) -> tuple[Any, Any]:
        """A train batch, whole."""
        batches = self.program.train.batches
        return batches[number % len(batches)]

    def lessons(self) -> int:
        """Train batches that short trainings use; where there are ten, a fifth is held out."""
        count = len(self.program.train.batches)
        return count if count < 10 else count - count // 5

    def lesson(self, number: int) -> tuple[Any, Any]:
        """The batch of a step of a short training."""
        return self.batch(number % self.lessons())

    def small(self, images: int = 64, number: int = 0) -> tuple[Any, Any]:
        """The first images of a train batch, fewer when they are large."""
        x, y = self.batch(number)
        return cut(x, y, min(images, affordable(x)))


def samples_in(x: Any) -> int:
    """How many samples a batch of inputs holds: a tensor, or a dict of them."""
    first = next(iter(x.values()), None) if isinstance(x, dict) else x
    return len(first) if isinstance(first, Tensor) and first.ndim else 0


def affordable(x: Any) -> int:
    """How many images layers can be looked at with."""
    if not isinstance(x, Tensor) or not len(x):
        return 8
    return max(4, int(CELLS / max(1, x[0].numel())))


def cut(x: Any, y: Any, images: int) -> tuple[Any, Any]:
    """The first `images` of a batch."""
    if not isinstance(x, Tensor):
        return x, y
    return x[:images], (y[:images] if isinstance(y, Tensor) and y.ndim and len(y) == len(x) else y)


def joined(batches: list[tuple[Any, Any]], images: int) -> tuple[Any, Any]:
    """The first `images` over several batches as one batch."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    for x, y in batches:
        fits = not xs or (isinstance(x, Tensor) and x.shape[1:] == xs[0].shape[1:])
        if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not fits:
            break
        xs.append(x)
        ys.append(y)
        if sum(map(len, xs)) >= images:
            break
    if not xs:
        return batches[0]
    return torch.cat(xs)[:images], torch.cat(ys)[:images]


def truth(y: Any, scores: Tensor | None = None) -> Tensor | None:
    """Class indices of targets: indices, probabilities or one-hot rows; None for anything else."""
    if not isinstance(y, Tensor) or not y.numel():
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1:
        if not y.is_floating_point():
            return y.long()  # type: ignore[no-any-return]
        if bool(((y == 0) | (y == 1)).all()):
            return y.long()  # type: ignore[no-any-return]
        whole = bool(y.isfinite().all()) and bool((y == y.round()).all()) and bool((y >= 0).all())
        return (
            y.long()
            if whole and scores is not None and scores.ndim == 2 and scores.shape[1] > 1
            else None
        )
    if y.ndim == 2 and y.is_floating_point() and bool(y.isfinite().all()):
        one = (y >= 0).all() and (y.sum(1) - 1).abs().max() < 0.02
        binary = ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()
        return y.argmax(1) if bool(one) or bool(binary) else None
    if y.ndim == 2 and bool((y.sum(1) == 1).all()) and bool((y >= 0).all()):
        return y.argmax(1)  # type: ignore[no-any-return]
    return None


def guess(scores: Tensor) -> Tensor:
    """The predicted classes."""
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim == 1:
        inside = bool((scores >= 0).all()) and bool((scores <= 1).all())
        return (scores > (0.5 if inside else 0.0)).long()
    return scores.argmax(1)


def answers(scores: Tensor, y: Any) -> tuple[Tensor, Tensor] | None:
    """The predicted and the true class of each sample; None when targets are not classes."""
    classes = truth(y, scores)
    if classes is None or scores.ndim > 2 or len(classes) != len(scores):
        return None
    return guess(scores.detach()), classes


def accuracy(scores: Tensor, y: Any) -> float:
    """Share of right predictions; nan when targets are not classes."""
    found = answers(scores, y)
    return float("nan") if found is None else float((found[0] == found[1]).float().mean())


def chunks(size: int, step: int) -> Iterator[slice]:
    """Slices that cover 0 .. size - 1."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
