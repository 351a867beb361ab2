"""Any loss over a batch that was mixed: the losses of the parts, in the mixture's proportions.

    value = 1/n sum_i sum_p w_pi * loss(x_i, t_pi)

For a loss that is linear in the targets this equals the loss of the mixed targets, and one call
is made. For any other one (hinge variants, margins, a loss of the user's) soft targets would be
another objective, so the loss is taken per sample and part. How it is taken is found out once
for each loss, on a slice of the first batch:

- ours say `per_sample`;
- modules with a `reduction`, and functions with a parameter of that name, are asked for "none";
- anything else that returns one number is called for each sample, by vmap where it allows that.

A loss that takes class indices instead of probabilities gets them; soft targets are then the
expectation over the classes. The mean or sum over the batch stays what the loss itself says.

Source: Zhang et al. 2018, arXiv:1710.09412. Lecture: Regularization, Mixup.
"""

import copy
import inspect
import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from goodfit.batch import Batch, Part
from goodfit.errors import ModelError
from goodfit.losses import Loss, spread

AnyLoss = Callable[[Tensor, Tensor], Tensor]
PerSample = Callable[[Tensor, Tensor], Float[Tensor, " n"]]

_LINEAR_MODULES = (nn.CrossEntropyLoss, nn.BCEWithLogitsLoss)
_LINEAR_FUNCTIONS = (F.cross_entropy, F.binary_cross_entropy_with_logits)
_PROBE = 3  # samples, or one more where that is the number of classes


def interpolated(loss: AnyLoss, logits: Float[Tensor, "n k"], batch: Batch) -> Tensor:
    """The loss of the batch, a scalar, exactly interpolated over `batch.parts`.

    Raises ModelError when the loss takes neither class probabilities nor class indices, or
    when a mixed batch needs the losses of single samples and they do not add up to the whole.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    targets = batch.targets.to(logits.dtype)
    if isinstance(loss, Loss):
        if loss.linear or not batch.parts:
            return loss(logits, targets)
        return sum_of(batch.parts, partial(loss.per_sample, logits)).mean()
    way = _way(loss)
    if not way.known:
        way.find_out(logits, targets)
    if way.indices:
        return way.of_classes(logits, batch)
    if not batch.parts or way.linear:
        return way.whole(logits, targets)
    rows = way.rows(logits, targets)
    return way.joined(sum_of(batch.parts, partial(rows, logits)))


def sum_of(parts: tuple[Part, ...], losses: Callable[[Tensor], Tensor]) -> Float[Tensor, " n"]:
    """Each sample's losses over its parts, weighed."""
    terms = [part.weight * losses(part.targets) for part in parts]
    return torch.stack(terms).sum(0)


class _Way:
    """How one loss is to be called. Empty until `find_out` has tried it."""

    def __init__(self, loss: AnyLoss) -> None:
        self.loss = loss
        self.known = self.indices = False
        self.linear = _is_linear(loss)
        self._rows: PerSample | None = None
        self._sums = False  # whether the batch is summed up, not averaged

    def find_out(self, logits: Tensor, targets: Tensor) -> None:
        """Try class probabilities, then class indices, on a slice of a real batch."""
        m = _PROBE + 1 if logits.shape[1] == _PROBE else _PROBE  # a square could fit by accident
        some = torch.arange(m, device=logits.device) % len(logits)
        probe, soft = logits.detach()[some], targets[some]
        complaints = {}
        for indices, given in ((False, soft), (True, soft.argmax(1))):
            try:
                with torch.no_grad():
                    value = self.loss(probe, given)
                if not isinstance(value, Tensor) or value.shape not in ((), (m,), probe.shape):
                    raise TypeError(f"it returns {getattr(value, 'shape', type(value).__name__)}")
            except Exception as error:  # any: this is the user's code, and only tried
                said = str(error).strip().splitlines() or [""]
                kind = "class_indices" if indices else "class_probabilities"
                complaints[kind] = f"{type(error).__name__}: {said[0]}"
            else:
                self.indices, self.known = indices, True
                return
        raise ModelError(
            "the loss takes neither class probabilities nor class indices",
            at=_called(self.loss),
            logits=tuple(probe.shape),
            **complaints,
            fix="let it take (logits (n, k), targets (n, k)) or (logits (n, k), classes (n,))",
        )

    def whole(self, logits: Tensor, given: Tensor) -> Tensor:
        """The loss of a batch as it is; losses that do not reduce are averaged."""
        value = self.loss(logits, given)
        return value if value.ndim == 0 else value.mean()

    def joined(self, rows: Float[Tensor, " n"]) -> Tensor:
        return rows.sum() if self._sums else rows.mean()

    def of_classes(self, logits: Tensor, batch: Batch) -> Tensor:
        """A loss of class indices: one call when the targets are hard, else the expectation."""
        parts = batch.parts or (Part(logits.new_ones(len(logits)), batch.targets),)
        pairs = [
            (part.weight * weight, classes)
            for part in parts
            for weight, classes in spread(part.targets.to(logits.dtype))
        ]
        if len(pairs) == 1:
            return self.whole(logits, pairs[0][1])
        if _normalizes(self.loss):
            return _normalized(self.loss, logits, pairs)
        rows = self.rows(logits, pairs[0][1])
        return self.joined(torch.stack([w * rows(logits, y) for w, y in pairs]).sum(0))

    def rows(self, logits: Tensor, given: Tensor) -> PerSample:
        """A function giving each sample's loss, found on first need and checked on this batch."""
        if self._rows is not None:
            return self._rows
        some = torch.arange(max(_PROBE, len(logits)), device=logits.device) % len(logits)
        probe, given = logits.detach()[some], given[some]
        with torch.no_grad():
            whole = self.loss(probe, given).mean()
            for rows in _ways_to_rows(self.loss):
                values = _tried(rows, probe, given)
                if values is None:
                    continue
                for sums, joined in ((False, values.mean()), (True, values.sum())):
                    if torch.allclose(joined, whole, rtol=1e-3, atol=1e-6):
                        self._sums = sums
                        self._rows = rows if whole.abs() > 1e-4 else None  # zero decides nothing
                        return rows
        raise ModelError(
            "the loss of a mixed batch needs the losses of single samples, and this one's do not "
            "add up to the loss of the batch",
            at=_called(self.loss),
            whole=f"{whole.item():.6g}",
            fix="give the loss a parameter `reduction` that accepts 'none', or remove the mixing",
        )


@lru_cache(maxsize=16)
def _cached_way(loss: AnyLoss) -> _Way:
    return _Way(loss)


def _way(loss: AnyLoss) -> _Way:
    try:
        return _cached_way(loss)
    except TypeError:  # not hashable: tried anew for each batch
        return _Way(loss)


def _ways_to_rows(loss: AnyLoss) -> list[PerSample]:
    """Candidates for the per-sample loss, fastest first."""
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        single: Any = copy.copy(loss)  # shares parameters and buffers
        single.reduction = "none"
        return [partial(_flat, single, loss.reduction != "mean"), partial(_loop, loss)]
    if "reduction" in _parameters(loss):
        unreducing: Any = loss
        summed = _parameters(loss)["reduction"].default not in ("mean", "none")
        return [partial(_flat, partial(unreducing, reduction="none"), summed), partial(_loop, loss)]
    return [partial(_flat, loss, False), partial(_vmapped, loss), partial(_loop, loss)]


def _tried(rows: PerSample, logits: Tensor, given: Tensor) -> Tensor | None:
    """The samples' losses, or None where this way does not give them."""
    try:
        values = rows(logits, given)
    except Exception:  # vmap refuses much that a loop can do
        return None
    return values if values.shape == (len(logits),) else None


def _flat(loss: AnyLoss, summed: bool, logits: Tensor, given: Tensor) -> Tensor:
    """Losses that come one for each sample, or one for each sample and class."""
    value = loss(logits, given)
    if value.ndim < 2:
        return value
    return value.flatten(1).sum(1) if summed else value.flatten(1).mean(1)


def _vmapped(loss: AnyLoss, logits: Tensor, given: Tensor) -> Tensor:
    def one(row: Tensor, target: Tensor) -> Tensor:
        return loss(row[None], target[None]).mean()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        return torch.func.vmap(one)(logits, given)


def _loop(loss: AnyLoss, logits: Tensor, given: Tensor) -> Tensor:
    return torch.stack(
        [loss(logits[i : i + 1], given[i : i + 1]).mean() for i in range(len(logits))]
    )


def _normalizes(loss: AnyLoss) -> bool:
    """Whether the mean is over class weights, not samples: torch's weighted NLLLoss."""
    return isinstance(loss, nn.NLLLoss) and loss.weight is not None and loss.reduction == "mean"


def _normalized(loss: Any, logits: Tensor, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    single = copy.copy(loss)
    single.reduction = "none"
    total = torch.stack([w * single(logits, y) for w, y in pairs]).sum()
    return total / torch.stack([w * loss.weight[y] for w, y in pairs]).sum()


def _is_linear(loss: AnyLoss) -> bool:
    """Known to be linear in class probabilities, so that mixed targets are exact."""
    if isinstance(loss, partial):
        return _is_linear(loss.func)
    return type(loss) in _LINEAR_MODULES or loss in _LINEAR_FUNCTIONS


def _parameters(loss: AnyLoss) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(loss).parameters)
    except (TypeError, ValueError):
        return {}


def _called(loss: AnyLoss) -> str:
    return getattr(loss, "__name__", type(loss).__name__)
