"""Gradients of every parameter over several batches, at the start, and after some steps."""

import math
import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work, affordable, cut


@dataclass(frozen=True)
class Grad:
    """The gradient of one parameter over several batches.

    rms: root mean square of the gradient; weight: of the parameter. zero, missing: in every batch.
    rows_equal: relative spread of the gradient over output units is below rounding.
    """

    name: str
    rms: float
    weight: float
    size: int
    dims: int
    zero: bool = False
    missing: bool = False
    finite: bool = True
    rows_equal: bool = False
    weight_rows_equal: bool = False


@dataclass(frozen=True)
class Gradients:
    """Per parameter, at the start, and after some steps and a perturbation."""

    start: dict[str, Grad]
    after: dict[str, Grad] = field(default_factory=dict)
    total: float = 0.0  # norm of the whole gradient at the start
    origin: str = ""  # the operation that made the first non-finite gradient
    penalty: float = 0.0  # norm of the gradient that does not pass through the scores
    penalty_ratio: float = 0.0  # over the data's gradient


def gradients(work: Work) -> Gradients:
    """Backward passes on clones."""
    start = grads(work, work.program.clone())
    after: dict[str, Grad] = {}
    if work.after is not None and all(
        bool(p.isfinite().all()) for p in work.after.model.parameters()
    ):
        after = grads(work, work.after, perturb=0.02)
    total = math.sqrt(sum((g.rms**2) * g.size for g in start.values() if g.finite))
    origin = "" if all(g.finite for g in start.values()) else _origin(work)
    norm, ratio = _penalty(work, work.program.clone())
    return Gradients(start, after, total, origin, norm, ratio)


def grads(work: Work, clone: Clone, batches: int = 3, perturb: float = 0.0) -> dict[str, Grad]:
    """Gradients over a few batches, with a perturbation of the weights when asked."""
    reseed(work.program.seed + 3)
    clone.model.train()
    params = [(n, p) for n, p in clone.model.named_parameters() if p.requires_grad]
    equal = {name: p.ndim > 1 and rows_equal(p.detach()) for name, p in params}
    if perturb:
        with torch.no_grad():
            for _, p in params:
                if p.is_floating_point():
                    p.add_(torch.randn_like(p) * perturb * p.square().mean().sqrt().clamp_min(1e-3))
    sums = {name: torch.zeros_like(p) for name, p in params}
    squares = dict.fromkeys(sums, 0.0)
    zero, missing, finite = (dict.fromkeys(sums, True) for _ in range(3))
    count = min(batches, len(work.program.train.batches))
    for number in range(count):
        x, y = work.batch(number)
        x, y = cut(x, y, max(64, affordable(x)))
        clone.model.zero_grad()
        for _, p in params:
            p.grad = None
        clone.loss(clone.forward(x), y).backward()  # type: ignore[no-untyped-call]
        for name, p in params:
            g = p.grad
            if g is None:
                continue
            g = g.to_dense() if g.is_sparse else g
            missing[name] = False
            finite[name] &= bool(g.isfinite().all())
            zero[name] &= not bool(g.any())
            squares[name] += float(g.float().square().mean()) / count
            sums[name] += g
    clone.model.zero_grad()
    return {
        name: Grad(
            name,
            math.sqrt(squares[name]) if finite[name] else math.nan,
            float(p.detach().float().square().mean().sqrt()),
            p.numel(),
            p.ndim,
            zero[name] and not missing[name],
            missing[name],
            finite[name],
            rows_equal(sums[name]) if p.ndim > 1 else False,
            equal[name],
        )
        for name, p in params
    }


def rows_equal(weight: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether all output units have the same weights (all zero included).

    A factor on each unit, (n, 1, 1, 1), is no weight of units: equal ones are how it starts.
    """
    if weight.ndim < 2 or len(weight) < 2 or (weight.ndim > 2 and weight.numel() == len(weight)):
        return False
    rows = weight.float().flatten(1)
    size = rows.abs().max()
    return bool((rows - rows[:1]).abs().max() <= tolerance * size) or not bool(size > 0)


def _origin(work: Work) -> str:
    """The operation whose backward made the first non-finite value."""
    clone = work.program.clone()
    clone.model.train()
    x, y = work.small(32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autograd.detect_anomaly(check_nan=True):
                clone.loss(clone.forward(x), y).backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        said = str(error)
        return said.partition("'")[2].partition("'")[0] if "returned nan" in said else ""
    return ""


def _penalty(work: Work, clone: Clone) -> tuple[float, float]:
    """Norm of the loss's gradient past the scores (a penalty in the loss), and over the data's."""
    clone.model.train()
    x, y = work.small(64)
    params = [p for p in clone.model.parameters() if p.requires_grad]
    try:
        output = clone.forward(x)
        scores = clone.pick(output)
        value = clone.loss_of_scores(scores.detach(), y)
        if not value.requires_grad or not params:
            return 0.0, 0.0
        aside = torch.autograd.grad(value, params, allow_unused=True)
        whole = torch.autograd.grad(clone.loss_of_scores(scores, y), params, allow_unused=True)
    except Exception:
        return 0.0, 0.0
    norm, rest = 0.0, 0.0
    for a, b in zip(aside, whole, strict=True):
        norm += 0.0 if a is None else float(a.square().sum())
        if b is not None:
            rest += float((b - a if a is not None else b).square().sum())
    return math.sqrt(norm), math.sqrt(norm / max(rest, 1e-30))
