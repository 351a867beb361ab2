"""The same trained weights on the same train images: as training sees them, and as evaluation."""

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.check.probes.evaluation import _distance, _recorded
from goodfit.check.probes.norms import recalibrate
from goodfit.check.program import Clone, Program, reseed
from goodfit.check.work import Work, answers

SECONDS = 3.0  # for a comparison; large nets are asked about fewer images
PASSES = 60  # without an update, for averages to arrive


@dataclass(frozen=True)
class Modes:
    """What evaluation makes of a net that a few real steps have trained.

    lost: images that every training pass gets right and evaluation wrong; won: the reverse.
    arrived: no average that training keeps (of weights or of features) is still on its way.
    """

    images: int = 0
    training: float = math.nan  # accuracy
    evaluation: float = math.nan
    loss_training: float = math.nan
    loss_evaluation: float = math.nan
    lost: int = 0
    won: int = 0
    arrived: bool = True
    where: str = "the model"

    @property
    def chance(self) -> float:
        """How often two equally good nets would differ like this: a sign test on the images."""
        from scipy.stats import binom  # here, so that predicting does not load scipy

        return float(binom.sf(self.lost - 1, self.lost + self.won, 0.5)) if self.lost else 1.0

    @property
    def fails(self) -> bool:
        """Whether evaluation is plainly worse than training, by its errors and by its loss."""
        wrong, usual = 1 - self.evaluation, 1 - self.training
        odds = wrong / max(1 - wrong, 1e-9) > 3 * usual / max(1 - usual, 1e-9)
        worse = odds and wrong > usual + 0.03 and self.loss_evaluation > 1.5 * self.loss_training
        return worse and self.images >= 64 and self.chance < 1e-6


def modes(work: Work) -> Modes | None:
    """Compare; where evaluation fails, give every running average the time that it may want."""
    clone = work.after
    if clone is None or not work.learned:
        return None
    with restored(clone):
        found = compared(work, clone)
        return found if found is None or not found.fails else _sure(work, clone, found)


def _sure(work: Work, clone: Clone, found: Modes) -> Modes:
    """What is left of a failure once averages have had their time, and where it is."""
    if any(isinstance(m, _BatchNorm) for m in clone.model.modules()):
        recalibrate(work, clone)
        found = compared(work, clone) or found
    arrived = True
    if found.fails:
        arrived = settled(work, clone)
        found = compared(work, clone) or found
    place = _where(work, clone) if found.fails else found.where
    return Modes(**{**vars(found), "arrived": arrived, "where": place})


@contextmanager
def restored(clone: Clone) -> Iterator[None]:
    """Put weights, buffers and the momenta of batch norms back afterwards."""
    state = [(t, t.detach().clone()) for t in (*clone.model.parameters(), *clone.model.buffers())]
    norms = [(m, m.momentum) for m in clone.model.modules() if isinstance(m, _BatchNorm)]
    try:
        yield
    finally:
        clone.model.train()
        with torch.no_grad():
            for tensor, old in state:
                tensor.copy_(old)
        for norm, momentum in norms:
            norm.momentum = momentum


@torch.no_grad()
def compared(work: Work, clone: Clone) -> Modes | None:
    """Two passes in training mode and one in evaluation, over whole train batches."""
    rows: list[tuple[Tensor, ...]] = []
    losses, count, stop = [0.0, 0.0], 0, time.thread_time() + SECONDS
    for x, y in work.program.train.batches:
        sides = [_pass(clone, x, y, train=train, seed=seed) for train, seed in PLAN]
        if any(right is None for _, right in sides) or work.left() < 1:
            return None
        rows.append(tuple(right for _, right in sides if right is not None))
        size = len(rows[-1][0])
        losses[0] += size * (sides[0][0] + sides[1][0]) / 2
        losses[1] += size * sides[2][0]
        count += size
        if count >= 2 * work.most or time.thread_time() > stop:
            break
    one, two, tested = (torch.cat(side) for side in zip(*rows, strict=True))
    return Modes(
        count,
        float((one.float() + two.float()).mean() / 2),
        float(tested.float().mean()),
        losses[0] / count,
        losses[1] / count,
        int((one & two & ~tested).sum()),
        int((~one & ~two & tested).sum()),
    )


PLAN = ((True, 1), (True, 2), (False, 3))


def _pass(clone: Clone, x: Any, y: Any, *, train: bool, seed: int) -> tuple[float, Tensor | None]:
    """The loss, and which images are right; None where targets are no classes."""
    clone.model.train(train)
    buffers = [(b, b.detach().clone()) for b in clone.model.buffers()]
    reseed(seed)
    output = clone.forward(x)
    found, loss = answers(clone.pick(output), y), float(clone.loss(output, y))
    for b, old in buffers:
        b.copy_(old)
    return loss, None if found is None else found[0] == found[1]


@torch.no_grad()
def settled(work: Work, clone: Clone) -> bool:
    """Pass train batches without an update; whether all averages then stand where they belong."""
    clone.model.train()
    reseed(6)
    then: list[Tensor] = []
    for number in range(PASSES):
        if work.left() < 1:
            return False
        if number == PASSES * 3 // 4:
            then = [copy.deepcopy(t) for t in averages(clone)]
        clone.forward(work.batch(number)[0])
    for now, before in zip(averages(clone), then, strict=True):
        if float((now - before).norm()) > 2e-3 * float(now.norm()):
            return False
    return not _behind(work.program, clone)


def averages(clone: Clone) -> Iterator[Tensor]:
    """What is kept beside the trained weights, batch norm's own statistics aside."""
    norms = [m for m in clone.model.modules() if isinstance(m, _BatchNorm)]
    known = {id(b) for m in norms for b in m.buffers()}
    frozen = [p.detach() for p in clone.model.parameters() if not p.requires_grad]
    for tensor in (*frozen, *clone.model.buffers()):
        if tensor.is_floating_point() and id(tensor) not in known:
            yield tensor


def _behind(program: Program, clone: Clone) -> bool:
    """Whether a copy of weights is nearer to their start than to what was trained.

    It is a slow average, or one that the user's own loop moves: nothing is known of its end.
    """
    first = dict(program.model.named_parameters())
    trained = [(first[n], p) for n, p in clone.model.named_parameters() if p.requires_grad]
    for tensor in averages(clone):
        for start, now in trained:
            if tensor.ndim < 2 or tensor.shape != now.shape:
                continue
            way = float((tensor - start.to(tensor)).norm())
            if way < float((tensor - now).norm()) and way < 0.5 * float(start.norm()):
                return True
    return False


@torch.no_grad()
def _where(work: Work, clone: Clone) -> str:
    """A module that only evaluation uses, or one that gives another output for the same input."""
    x, _ = work.small(32)
    clone.model.train()
    reseed(1)
    _, inputs, outputs = _recorded(clone, x)
    clone.model.eval()
    reseed(1)
    _, inputs2, outputs2 = _recorded(clone, x)
    only = [n for n in outputs2 if n not in outputs]
    tops = [n for n in only if not any(n.startswith(f"{o}.") for o in only)]
    if tops:
        return tops[0]
    changed = [
        n
        for n in outputs
        if n in outputs2
        and n in inputs
        and n in inputs2
        and _distance(inputs[n], inputs2[n]) <= 1e-6
        and _distance(outputs[n], outputs2[n]) > 1e-3
    ]
    inner = [n for n in changed if not any(o != n and o.startswith(f"{n}.") for o in changed if n)]
    return next((n for n in inner if n), "the model")
