"""The steps before any search: is the initial loss right, and can a few batches be learned?

    1  the loss of the untrained net without decay is about ln C: all classes alike
    2  five batches, without augmentation and regularization, are learned to 100%

Both work on copies. A net that cannot learn five batches has a fault that no hyperparameter mends:
tuning stops there and names `goodfit check`.

Source: Johnson, EECS 498, steps 1 and 2. Lecture: Choosing hyperparameters.
"""

import copy
import time
from collections.abc import Sequence
from math import isfinite, log
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from goodfit.batch import Batch
from goodfit.errors import TrainingError
from goodfit.fit import fit
from goodfit.tune.untouched import copied, untouched


class Initial(NamedTuple):
    """The loss before the first update."""

    loss: float
    expected: float  # ln C

    @property
    def fine(self) -> bool:
        return isfinite(self.loss) and abs(self.loss - self.expected) <= 0.25 * self.expected + 0.1

    @property
    def words(self) -> str:
        return (
            f"The untrained net has a cross-entropy of {self.loss:.3f}; "
            f"all classes alike would be ln C = {self.expected:.3f}."
        )

    @property
    def onward(self) -> str:
        if self.fine:
            return "That is as it should be, so tuning goes on."
        return (
            "It begins with confident guesses: smaller weights in the last layer, or another "
            "init, would spare the first updates. Tuning goes on, since training can mend it."
        )


def initial_loss(model: nn.Module, batches: Sequence[Batch]) -> Initial:
    """Mean cross-entropy of an untrained model, in training mode, on a copy."""
    with untouched(), torch.no_grad():
        new = copy.deepcopy(model).train()
        found = [F.cross_entropy(_logits(new, b).float(), b.targets) for b in batches]
    return Initial(float(torch.stack(found).mean()), log(max(2, batches[0].targets.shape[1])))


class Overfitted(NamedTuple):
    """How well a few batches were learned by heart."""

    accuracy: float
    chance: float
    steps: int
    images: int
    lr: float
    losses: tuple[float, ...]
    cut: bool = False  # the time was over before it had learned or was hopeless

    @property
    def words(self) -> str:
        return (
            f"{self.images} images were learned to {self.accuracy:.1%} in {self.steps} updates "
            f"at a learning rate of {self.lr:.3g}, without regularization."
        )

    @property
    def onward(self) -> str:
        if self.accuracy >= 0.99:
            return "The net can learn, so a search is worth its time."
        if self.accuracy > 2 * self.chance:
            return (
                "It learns, though not all: the net may be small, or these few updates too few. "
                "The search can still find the best of what it can do, so tuning goes on."
            )
        return "The time allowed too few updates to tell whether it can learn, so tuning goes on."


def overfitted(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    *,
    loss: Any,
    lrs: Sequence[float] = (0.1, 1e-2, 1e-3, 1.0),
    steps: int = 200,
    seconds: float = float("inf"),
    precision: torch.dtype = torch.float32,
) -> Overfitted:
    """Learn `batches` by heart on copies, at the optimizer's rate and at `lrs`, until 100%.

    The rates share the time; what one leaves is for the others. Raises TrainingError when none
    gets beyond twice the accuracy of chance, though each had its updates.
    """
    end = time.monotonic() + seconds
    own = optimizer.param_groups[0]["lr"]
    rates = (own, *(lr for lr in lrs if not 0.5 < lr / own < 2))
    found: list[Overfitted] = []
    for left, lr in zip(range(len(rates), 0, -1), rates, strict=True):
        now = time.monotonic()
        with untouched():
            found.append(
                _learned(
                    model, optimizer, batches, loss, lr, steps, now + (end - now) / left, precision
                )
            )
        if found[-1].accuracy == 1.0:
            break
    best = max(found, key=lambda tried: tried.accuracy)
    if best.accuracy <= 2 * best.chance and not any(tried.cut for tried in found):
        raise TrainingError(
            "the net cannot learn even a few batches by heart",
            at="step 2, overfit",
            accuracy=f"{best.accuracy:.1%} of {best.images} images after {best.steps} updates",
            chance=f"{best.chance:.1%}",
            fix="run `goodfit check`: a fault in model, loss or labels comes before tuning",
        )
    return best


def _learned(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    loss: Any,
    lr: float,
    steps: int,
    deadline: float,
    precision: torch.dtype,
) -> Overfitted:
    new, moved = copied(model, optimizer)
    ratio = lr / moved.param_groups[0]["lr"]
    for group in moved.param_groups:
        group["lr"] *= ratio
        group["weight_decay"] = 0.0
        group.pop("peak_lr", None)
    for module in new.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    accuracy, losses, cut = 0.0, list[float](), False
    try:
        for step in fit(new, batches, optimizer=moved, loss=loss, steps=steps, precision=precision):
            losses.append(float(step.loss))
            if step.number % (2 * len(batches)) == 0 or step.number == steps:
                accuracy = _accuracy(new, batches)
                hopeless = step.number >= 60 and accuracy < 0.3 and losses[-1] > 0.9 * losses[0]
                cut = time.monotonic() > deadline and accuracy < 1 and step.number < steps
                if accuracy == 1.0 or hopeless or cut:
                    break
    except TrainingError:
        pass  # this rate is too high: what was reached before counts
    count = sum(len(b.targets) for b in batches)
    classes = torch.cat([b.targets for b in batches]).mean(0)
    return Overfitted(accuracy, float(classes.max()), len(losses), count, lr, tuple(losses), cut)


@torch.no_grad()
def _accuracy(model: nn.Module, batches: Sequence[Batch]) -> float:
    """With batch statistics, as in training: the running ones have seen few batches yet."""
    kept = {name: t.clone() for name, t in model.named_buffers()}
    hits = [(_logits(model, b).argmax(1) == b.targets.argmax(1)).float() for b in batches]
    for name, t in model.named_buffers():
        t.copy_(kept[name])
    return float(torch.cat(hits).mean())


def _logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    found = model(batch.images)
    return found if isinstance(found, torch.Tensor) else found[0]
