"""What the shortly trained net knows of images that it was not trained on, in train and in val."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodfit.check.probes.samples import fingerprints
from goodfit.check.program import Clone
from goodfit.check.work import Work, affordable, answers

MOST = 512  # images of a side
SECONDS = 2.0  # for a side; large nets are asked about fewer images


@dataclass(frozen=True)
class HeldOut:
    """Accuracies in evaluation mode after the short training; nan where there were no images.

    train: on batches of train that the training left out. val: on val.
    chance, val_chance: of the class that is commonest among the images judged.
    renumbered: accuracy on val if its classes were renumbered as suits the net best.
    """

    train: float = math.nan
    images: int = 0
    val: float = math.nan
    val_images: int = 0
    chance: float = math.nan
    val_chance: float = math.nan
    renumbered: float = math.nan

    @property
    def known(self) -> float:
        """Accuracy above chance on train images that were held out."""
        return self.train - self.chance

    @property
    def comparable(self) -> bool:
        """Whether the net knows enough of enough images of train to ask what it knows of val."""
        return self.known > 0.25 and min(self.images, self.val_images) >= 60

    @property
    def renumberable(self) -> bool:
        """Whether val renumbered is known about as well as train.

        Inputs that were changed, swapped colors for example, can look like some classes
        renumbered, but then much of what the net knows stays lost.
        """
        return self.renumbered - self.val_chance > 0.7 * self.known


def held_out(work: Work) -> HeldOut | None:
    """Ask the trained clone; None when nothing was trained or targets are not classes."""
    clone, count = work.after, work.lessons()
    if clone is None:
        return None
    batches = work.program.train.batches
    held = [] if work.program.train.draws else batches[count:]
    known = _prints(batches[:count]) if held else set()
    clone.model.eval()
    try:
        guessed, labels = _judged(clone, held, known)
        val = work.program.val
        val_guessed, val_labels = _judged(clone, val.batches if val is not None else [], set())
    finally:
        clone.model.train()
    if not len(labels) and not len(val_labels):
        return None
    return HeldOut(
        float((guessed == labels).float().mean()),
        len(labels),
        float((val_guessed == val_labels).float().mean()),
        len(val_labels),
        _commonest(labels),
        _commonest(val_labels),
        _renumbered(val_guessed, val_labels),
    )


def _renumbered(guessed: Tensor, labels: Tensor) -> float:
    from scipy.optimize import linear_sum_assignment  # here, so that predicting does not load it

    if not len(labels):
        return math.nan
    size = int(max(guessed.max(), labels.max())) + 1
    table = torch.zeros(size, size, dtype=torch.long)
    table.index_put_((labels, guessed), torch.ones_like(labels), accumulate=True)
    rows, columns = linear_sum_assignment(-table.numpy())
    return float(table[rows, columns].sum() / len(labels))


def _commonest(labels: Tensor) -> float:
    return float(torch.bincount(labels).max() / len(labels)) if len(labels) else math.nan


@torch.no_grad()
def _judged(clone: Clone, batches: list[tuple[Any, Any]], known: set[int]) -> tuple[Tensor, Tensor]:
    """The net's class of each image and the true one; images known exactly do not count."""
    guesses, labels = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)]
    count, stop = 0, time.thread_time() + SECONDS
    for x, y in batches:
        if not isinstance(x, Tensor) or count >= MOST or time.thread_time() > stop:
            break
        part = slice(0, max(8, affordable(x)))
        found = answers(clone.scores(x[part]), y[part])
        if found is None:
            break
        guessed, classes = found
        new = torch.tensor([p not in known for p in fingerprints(x[part].float()).tolist()])
        good = new & (classes >= 0).cpu()
        guesses.append(guessed.cpu()[good])
        labels.append(classes.cpu()[good])
        count += int(good.sum())
    return torch.cat(guesses), torch.cat(labels)


def _prints(batches: list[tuple[Any, Any]]) -> set[int]:
    xs = [x for x, _ in batches if isinstance(x, Tensor)]
    return {p for x in xs for p in fingerprints(x.float()).tolist()}
