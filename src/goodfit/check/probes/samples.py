"""The data as delivered: images, classes and which batch each came in."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodfit.check.program import Part
from goodfit.check.work import Work, truth

_AT_ONCE = 1 << 25  # bytes of the copy that fingerprints are made from


@dataclass(frozen=True)
class Side:
    """One side of the data (train or val).

    x: (n, ...), float32. y: (n,) class indices, or None when targets are not classes.
    raw: the targets as delivered. batch: (n,), the number of the batch.
    complete: the whole iterable was seen. draws: samples may come twice by design.
    """

    x: Tensor
    y: Tensor | None
    raw: Tensor | None
    batch: Tensor
    complete: bool = True
    draws: bool = False

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Samples:
    """Both sides. again: the fingerprints of val in a second pass, None when not passed again."""

    train: Side
    val: Side | None = None
    outputs: int | None = None  # the model's classes
    weighted: bool = False  # the loss or the sampler weighs classes
    again: tuple[Tensor, Tensor] | None = None
    ignored: int = -100  # the loss's own index for samples without a label
    augmented: bool = False  # train delivers other values in a second pass
    steady: bool = False  # it was passed twice and delivered the same; a list may be augmented


def samples(work: Work) -> Samples | None:
    """Put the batches together."""
    train = side(work.program.train)
    if train is None:
        return None
    val = side(work.program.val) if work.program.val is not None else None
    loss = work.program.loss
    weighted = any(
        isinstance(getattr(loss, n, None), Tensor) for n in ("weight", "pos_weight", "alpha")
    )
    return Samples(train, val, weighted=weighted, ignored=int(getattr(loss, "ignore_index", -100)))


def side(part: Part) -> Side | None:
    """The batches of one side as one tensor each; None when inputs are not tensors of one shape."""
    xs = [x for x, _ in part.batches]
    if not all(isinstance(x, Tensor) and x.shape[1:] == xs[0].shape[1:] for x in xs):
        return None
    if xs[0].is_complex() or xs[0].dtype == torch.bool:
        return None
    raw = together([y for _, y in part.batches])
    numbers = torch.cat([torch.full((len(x),), i) for i, x in enumerate(xs)])
    x = torch.cat([x.detach().cpu().float() for x in xs])
    y = truth(raw, torch.empty(1, 2)) if raw is not None and len(raw) == len(x) else None
    return Side(x, y, raw, numbers, part.complete, part.draws)


def together(targets: list[Any]) -> Tensor | None:
    if not all(
        isinstance(y, Tensor) and y.ndim and y.shape[1:] == targets[0].shape[1:] for y in targets
    ):
        return None
    return torch.cat([y.detach().cpu() for y in targets])


def fingerprints(x: Tensor) -> Tensor:
    """One 64-bit number per sample, the same for equal samples whatever stands beside them.

    A random projection of the bits in whole numbers, which wrap around and so are exact.
    """
    rows = x.flatten(1).float()
    generator = torch.Generator().manual_seed(0)
    keys = torch.randint(-(2**62), 2**62, (rows.shape[1],), generator=generator) * 2 + 1
    some = max(1, _AT_ONCE // (8 * max(1, rows.shape[1])))
    marks = torch.empty(len(rows), dtype=torch.int64)
    for start in range(0, len(rows), some):
        part = torch.nan_to_num(rows[start : start + some]) + 0.0  # -0.0 is 0.0
        marks[start : start + some] = part.view(torch.int32).long() @ keys
    return marks


def yes_or_no(x: Tensor) -> bool:
    """Whether most columns of a table have two values: many samples are equal by nature."""
    if x.ndim != 2:
        return False
    return float(((x == x.amin(0)) | (x == x.amax(0))).all(0).float().mean()) > 0.5
