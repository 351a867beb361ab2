"""Through how many numbers a net reads its input, and which values it never reads.

The gradients of the scores with respect to the input span what the scores can depend on. Where
they span few directions, or leave values out, the claim is put to the test: everything else of
the input is exchanged for that of other samples, and the scores must stay.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work

DIRECTIONS = 4  # random mixtures of the scores that gradients are taken of
FLAT = 1e-4  # of the largest singular value: rounding
STAYS = 1e-3  # of the size of the scores: what rounding may move
FEW = 16  # directions; more are not counted


@dataclass(frozen=True)
class Reading:
    """What the scores depend on.

    numbers: directions of the input that they depend on, None where there are many.
    varying: directions that the inputs vary in. unread: share of the varying values of the input
    that change nothing.
    """

    numbers: int | None = None
    varying: int = 0
    unread: float = 0.0


def reading(work: Work, x: Any) -> Reading:
    """On a clone with weights shifted a little, so that no zero of the start counts."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) < 8 or x.ndim < 2:
        return Reading()
    clone = work.program.clone()
    clone.model.eval()
    reseed(work.program.seed + 11)
    _shift(clone)
    rows = _gradients(clone, x)
    flat = x.detach().flatten(1)
    if rows is None or not bool(rows.any()):
        return Reading()
    moves = flat.std(0) > 0
    silent = moves & ~(rows != 0).any(0)
    varying = _rank(flat - flat.mean(0))
    other = flat.roll(1, 0)
    found: dict[str, Any] = {"varying": varying}
    if bool(silent.any()) and _stay(clone, x, torch.where(silent, other, flat)):
        found["unread"] = float(silent.sum() / moves.sum())
    basis = _basis(rows)
    if basis is not None and len(basis) < varying:
        same = ((flat - other).double() @ basis.T @ basis).to(flat.dtype)
        if _stay(clone, x, other + same):
            found["numbers"] = len(basis)
    return Reading(**found)


def _shift(clone: Clone) -> None:
    with torch.no_grad():
        for p in clone.model.parameters():
            if p.is_floating_point():
                p.add_(0.02 * torch.randn_like(p) * p.square().mean().sqrt().clamp_min(1e-2))


def _gradients(clone: Clone, x: Tensor) -> Tensor | None:
    """Gradients of mixtures of each sample's scores, one a row; None where there are none."""
    given = x.detach().clone().requires_grad_()
    with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers want training mode
        scores = clone.scores(given)
        if scores.ndim < 2 or len(scores) != len(x) or not scores.requires_grad:
            return None
        scores = scores.flatten(1)
        rows = []
        for _ in range(DIRECTIONS):
            mixed = (scores * torch.randn_like(scores[:1])).sum()
            (g,) = torch.autograd.grad(mixed, given, retain_graph=True, allow_unused=True)
            if g is None or not bool(g.isfinite().all()):
                return None
            rows.append(g.flatten(1))
    return torch.cat(rows)


def _rank(rows: Tensor) -> int:
    values = torch.linalg.eigvalsh(rows.double() @ rows.double().T).clamp_min(0).sqrt()
    return int((values > 1e-3 * values.max()).sum()) if bool(values.max() > 0) else 0


def _basis(rows: Tensor) -> Tensor | None:
    """Orthonormal directions that the rows lie in, when they are few."""
    rows = rows.double()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    kept = values.clamp_min(0).sqrt() > FLAT * values.max().sqrt()
    if int(kept.sum()) > FEW:
        return None
    basis: Tensor = (vectors[:, kept].T @ rows) / values[kept].sqrt()[:, None]
    return basis


@torch.no_grad()
def _stay(clone: Clone, x: Tensor, changed: Tensor) -> bool:
    """Whether the scores are the same for the changed input."""
    try:
        scores = []
        for given in (x, changed.reshape(x.shape)):
            reseed(5)
            scores.append(clone.scores(given).double())
    except (IndexError, ValueError, RuntimeError):  # not every number is an input
        return False
    spread = (scores[0] - scores[0].mean(0)).abs().max()
    return bool((scores[0] - scores[1]).abs().max() <= STAYS * spread)
