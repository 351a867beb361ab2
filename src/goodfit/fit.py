"""The training loop: one screen, and it calls nobody back. It yields.

Log, evaluate, average, save or stop in the body of your own `for`. Nothing in the loop waits for
the device, so a GPU is kept busy; `Step` holds device tensors, read them when you need them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, repeat
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from goodfit.augment.pipeline import Pipeline
from goodfit.batch import Batch
from goodfit.errors import GoodfitError, TrainingError
from goodfit.losses.interpolate import interpolated
from goodfit.nonfinite import first_nonfinite


class Step(NamedTuple):
    """What one update did. The tensors are scalars on the training device."""

    number: int  # 1 for the first update of the run
    loss: Tensor  # before the update, mean over the batch, penalties left out
    grad_norm: Tensor  # of all gradients together, before clipping
    lr: float  # of the first parameter group
    images: int  # seen in this update, by this process
    epoch: int


def fit(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    optimizer: Optimizer,
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    schedule: Callable[[float], float] = lambda done: 1.0,
    augment: Sequence[Callable[..., Batch]] | Pipeline = (),
    penalties: Sequence[Callable[[nn.Module], Tensor]] = (),
    clip_norm: float = inf,
    accumulate: int = 1,
    precision: torch.dtype = torch.float32,
    seed: int = 0,
    first: int = 1,
) -> Iterator[Step]:
    """Update `model` in place `steps` times in all and yield after each update.

    batches: started again whenever it ends; may hold uint8 images if the model takes them.
    loss: (logits, targets) → scalar. Where images were mixed it is interpolated, exactly.
    schedule: fraction of the run that is done → factor on every group's lr. A group's peak is its
        lr when training starts; it is kept in the group as `peak_lr`, so it survives a resume.
    augment: changes, which draw from `seed`; or a pipeline of them with a seed of its own.
    penalties: scalars of the model, added to the loss.
    accumulate: batches per update; the gradient equals that of one large batch, norm layers aside.
    precision: torch.bfloat16 runs the forward pass under autocast.
    first: number of the first update, to go on with an interrupted run.

    Raises TrainingError when loss or gradient are not finite, naming the first such layer, before
    the weights are touched. On an accelerator, where it never waits, that is said one update
    later; the gradients that were not finite are zeros by then.
    """
    weights, modules = list(model.parameters()), list(model.modules())
    device = weights[0].device
    pipeline = augment if isinstance(augment, Pipeline) else Pipeline(augment, seed)
    endless = chain.from_iterable(map(_not_empty, repeat(batches)))
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
    watch = _Watch(model, loss, late=device.type != "cpu")
    norm = torch.zeros((), device=device)

    for number in range(first, steps + 1):
        if not all(module.training for module in modules):  # it, or a part, was evaluated meanwhile
            model.train()
        _scheduled(optimizer, schedule, (number - 1) / steps)
        micro = [pipeline(batch) for _, batch in zip(range(accumulate), endless, strict=False)]
        images = sum(len(batch.images) for batch in micro)

        def closure(
            micro: list[Batch] = micro, images: int = images, number: int = number
        ) -> Tensor:
            nonlocal norm
            optimizer.zero_grad()
            parts: list[Tensor] = []
            for place, batch in enumerate(micro):
                with _local(model, place + 1 < len(micro)):
                    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                        value = _loss(model, batch, loss)
                    share = len(batch.images) / images
                    whole = sum((penalty(model) for penalty in penalties), value)
                    (whole if share == 1 else whole * share).backward()  # type: ignore[no-untyped-call]
                parts.append(value.detach() if share == 1 else value.detach() * share)
            total = sum(parts[1:], parts[0])
            grads = [weight.grad for weight in weights if weight.grad is not None]
            norm = get_total_norm(grads)
            if clip_norm < inf:
                clip_grads_with_norm_(weights, clip_norm, norm)
            watch(number, total, norm, grads, micro[-1])
            return total

        value: Any = optimizer.step(closure)  # type: ignore[arg-type]  # optimizers that look twice call it twice
        yield Step(number, value, norm, optimizer.param_groups[0]["lr"], images, micro[-1].epoch)
    watch.close()


def _scheduled(optimizer: Optimizer, schedule: Callable[[float], float], done: float) -> None:
    """Set every group's lr, and the momentum where the schedule moves it (1cycle does)."""
    factor = schedule(done)
    momentum = schedule.momentum(done) if hasattr(schedule, "momentum") else None
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
        if momentum is not None and "momentum" in group:
            group["momentum"] = momentum
        elif momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])


def _loss(model: nn.Module, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The loss of one batch; auxiliary heads count with the model's `aux_weight`."""
    output = model(batch.images)
    if isinstance(output, Tensor):
        return interpolated(loss, output.float(), batch)
    logits, *aux = (head for head in output if head is not None)
    weight = float(getattr(getattr(model, "module", model), "aux_weight", 0.3))
    value = interpolated(loss, logits.float(), batch)
    return value + weight * sum(interpolated(loss, head.float(), batch) for head in aux)


def _local(model: nn.Module, more: bool) -> AbstractContextManager[Any]:
    """Gradients of all but the last micro-batch need no exchange between processes."""
    return model.no_sync() if more and hasattr(model, "no_sync") else nullcontext()  # type: ignore[operator]


def _not_empty(batches: Iterable[Batch]) -> Iterator[Batch]:
    batch = None
    for batch in batches:
        yield batch
    if batch is None:
        raise GoodfitError(
            "there is no batch to train on",
            fix="give at least one full batch of images, or a smaller batch_size",
        )


class _Watch:
    """Stops training at the first loss or gradient that is not finite.

    On the CPU at once, before the weights are changed. Elsewhere asking would wait for the
    device, so the answer to the question of one update is read during the next; such gradients
    become zeros meanwhile, without asking, so that the weights stay finite.
    """

    def __init__(self, model: nn.Module, loss: Any, *, late: bool) -> None:
        self.model, self.loss, self.late = model, loss, late
        self.asked: _Question | None = None

    def __call__(
        self, number: int, value: Tensor, norm: Tensor, grads: list[Tensor], batch: Batch
    ) -> None:
        finite = (value + norm).abs() < inf  # isfinite, in fewer operations
        now: _Question | None = _Question.asked(number, value, finite, batch)
        if self.late:
            broken = ~finite
            for grad in grads:
                grad.masked_fill_(broken, 0.0)
            now, self.asked = self.asked, now
        self._answered(now)

    def close(self) -> None:
        """Hear the answer to the last question."""
        self._answered(self.asked)

    def _answered(self, asked: "_Question | None") -> None:
        if asked is None or asked.answer():
            return
        place, kind = first_nonfinite(self.model, asked.batch, self.loss)
        raise TrainingError(
            f"the loss or its gradient is no longer finite at step {asked.number}",
            at=place,
            first=kind,
            loss=f"{float(asked.value):g}",
            fix="lower optimizer.lr, lengthen schedule.warmup, or set train.clip_norm = 1; "
            "`goodfit check` looks for the cause",
        )


class _Question(NamedTuple):
    """Whether an update's numbers are finite, and its last batch."""

    number: int
    value: Tensor
    finite: Tensor
    batch: Batch
    sent: Any  # when the answer has reached the host; None where it is read where it is

    @classmethod
    def asked(cls, number: int, value: Tensor, finite: Tensor, batch: Batch) -> "_Question":
        """Send the answer off: to read it later waits for this update alone, not for the next."""
        sent = None
        if finite.device.type == "cuda":
            sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            stream = torch.cuda.current_stream(finite.device)
            finite = finite.to("cpu", non_blocking=True)
            sent.record(stream)
        return cls(number, value, finite, batch, sent)

    def answer(self) -> bool:
        if self.sent is not None:
            self.sent.synchronize()
        return bool(self.finite)
