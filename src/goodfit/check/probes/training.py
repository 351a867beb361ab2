"""Train clones for a few dozen steps, as the user would, and slower or faster when that fails."""

import inspect
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from goodfit.check.probes.schedule import mean_factor, peaks, warms_up
from goodfit.check.probes.steps import ceiling, fast_place, left_by_a_step
from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work, accuracy, affordable, joined, samples_in


@dataclass(frozen=True)
class Run:
    """One short training.

    factor: of the learning rate; None for the reference optimizer (Adam).
    losses, accuracies: of each batch, before its update, in training mode.
    start, end: loss on the same images before and after, in training mode, same noise.
    predicted: decrease that the gradient promises for each update; actual: what came of it.
    """

    factor: float | None
    losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    start: float = math.nan
    end: float = math.nan
    accuracy_start: float = math.nan
    accuracy_end: float = math.nan
    images: int = 1
    finite: bool = True
    broke: str = ""
    predicted: tuple[float, ...] = ()

    @property
    def progress(self) -> float:
        """Relative fall of the loss; minus infinity when it is not finite."""
        if not self.finite or not math.isfinite(self.end):
            return -math.inf
        return (self.start - self.end) / max(abs(self.start), 1e-12)

    @property
    def lowest(self) -> float:
        """Relative fall to the lowest mean of five steps: it learned, even if it lost it again."""
        means = [sum(self.losses[i : i + 5]) / 5 for i in range(len(self.losses) - 4)]
        means = [m for m in means if math.isfinite(m)]
        return (self.losses[0] - min(means)) / max(abs(self.losses[0]), 1e-12) if means else 0.0

    @property
    def gained(self) -> float:
        """Standard errors by which accuracy rose."""
        if math.isnan(self.accuracy_end) or not self.finite:
            return 0.0
        return self._errors(self.accuracy_end - self.accuracy_start, self.accuracy_start)

    def _errors(self, difference: float, other: float) -> float:
        """A difference of accuracies in its standard errors; `other` is what it is to."""
        p = (other + self.accuracy_end) / 2
        return difference / math.sqrt(2 * max(p * (1 - p), 0.01) / self.images)

    @property
    def jumped(self) -> bool:
        """Whether its first steps threw the loss far above where it began."""
        return bool(self.losses) and max(self.losses[:10]) > 3 * abs(self.losses[0])

    def outruns(self, other: "Run") -> bool:
        """Whether this one is plainly further on the same images, in loss and in accuracy."""
        if not other.finite:
            return self.learns
        if not self.finite or not self.progress - other.progress > 0.2:
            return False
        if math.isnan(self.accuracy_end):
            return self.end < 0.3 * other.end
        return self._errors(self.accuracy_end - other.accuracy_end, other.accuracy_end) > 4

    @property
    def learns(self) -> bool:
        """Whether it plainly gets better."""
        return (
            self.finite
            and self.broke == ""
            and (
                self.progress > 0.1 or self.lowest > 0.35 or (self.gained > 4 and self.progress > 0)
            )
        )


@dataclass(frozen=True)
class Training:
    """The user's own run, the same at other learning rates, and a reference optimizer's."""

    own: Run
    others: tuple[Run, ...] = ()
    reference: Run | None = None
    constant: float = math.nan  # the loss of zero scores
    updates: dict[str, float] = field(
        default_factory=dict
    )  # parameter: rms of update over rms of weight
    peak: float = 0.0  # of the learning rate
    warms_up: bool = False
    planned: int | None = None  # steps of the whole run
    mean_factor: float = 1.0  # of the schedule over the run, relative to its peak
    level: Run | None = None  # with the fastest group as slow as the next, where it is far faster
    level_at: str = ""  # the first module of that group
    level_lr: float = 0.0
    left: float = 1.0  # of the weights' size by a step without gradients, where nothing is learned

    @property
    def learns(self) -> bool:
        """Whether the program gets better as it is."""
        return self.own.learns

    def best(self) -> Run:
        """The run that got furthest."""
        runs = [self.own, *self.others, *([self.reference] if self.reference else [])]
        return max(runs, key=lambda run: (run.progress, run.gained))

    def at(self, factor: float) -> Run | None:
        """The run at this multiple of the learning rate."""
        return next((run for run in self.others if run.factor == factor), None)


def training(work: Work) -> Training:
    """Train as is; when that does not learn, also slower, faster and with the reference.

    On a share of each batch the rates are the same share of the user's, and such a run only tells
    whether the loss stays finite: other rates are not tried because it does not learn.
    """
    program = work.program
    own_optimizer = program.optimizer is not None
    steps = int(min(60, max(16, 6.0 / max(work.step_seconds, 1e-4))))
    clone = program.clone()
    before = {name: p.detach().clone() for name, p in clone.model.named_parameters()}
    own = train(work, clone, steps, 1.0 if own_optimizer else None)
    work.after = clone
    updates = {}
    for name, p in clone.model.named_parameters():
        if name in before and before[name].shape == p.shape and p.is_floating_point():
            size = before[name].float().square().mean().sqrt()
            moved = (p.detach() - before[name]).float().square().mean().sqrt()
            updates[name] = float(moved / size.clamp_min(1e-12))
    if own.learns and own.progress < 0.1 and own.lowest > 0.35:  # it learned and then jumped out
        work.after = program.clone()
        train(work, work.after, lowest_at(own), 1.0 if own_optimizer else None)
    others: list[Run] = []
    reference = None
    x, y = probe_batch(work)
    constant = _constant(program.clone(), x, y)
    if own.learns and own.jumped and own_optimizer and work.left() > 3:
        others.append(train(work, program.clone(), steps, 0.1))
    whole = work.share == 1.0 or not own.finite
    if not own.learns and own_optimizer and not own.broke and whole:
        for factor in factors(own, updates, constant):
            if work.left() < 3:
                break
            fresh = program.clone()
            run = train(work, fresh, steps, factor)
            others.append(run)
            if run.learns:
                if not own.finite or own.progress < 0:
                    work.after = fresh
                if run.progress > 0.15:
                    break
        if work.left() > 2 and math.isfinite(own.start) and not any(r.learns for r in others):
            fresh = program.clone()
            reference = train(work, fresh, steps, None)
            if reference.learns and not own.finite:
                work.after = fresh
    limit = ceiling(peaks(work)) if own_optimizer and not own.broke else None
    level = None
    if limit is not None and work.left() > 3:
        level = train(work, program.clone(), steps, 1.0, limit)
    left = left_by_a_step(program) if reference is not None and reference.learns else 1.0
    work.learned = any(run.learns for run in [own, *others, *([reference] if reference else [])])
    return Training(
        own,
        tuple(others),
        reference,
        constant,
        updates,
        max(peaks(work), default=0.0),
        warms_up(work),
        program.steps,
        mean_factor(work),
        level,
        fast_place(program.model, program.optimizer, peaks(work))
        if level is not None and program.optimizer is not None
        else "",
        limit or 0.0,
        left,
    )


def lowest_at(run: Run) -> int:
    """Steps after which the loss was lowest."""
    means = [sum(run.losses[i : i + 5]) for i in range(len(run.losses) - 4)]
    return 4 + min(range(len(means)), key=means.__getitem__)


def factors(own: Run, updates: dict[str, float], constant: float) -> list[float]:
    """Multiples of the learning rate worth trying, the likelier ones first.

    constant: the loss of scores that do not look; what is not below it has learned nothing.
    """
    if not math.isfinite(own.start):
        return [0.1]  # already the untouched program's loss is not finite
    nothing = not own.finite or own.progress < 0.03 or own.end > 0.97 * constant > 0
    slower = [0.1, 0.01, 0.001] if nothing else []
    sizes = sorted(updates.values())
    moved = sizes[len(sizes) // 2] / max(1, len(own.losses)) if sizes else 1.0
    if not own.finite or not moved < 3e-3:
        return slower
    scale = 10.0 ** max(1, min(6, round(math.log10(1e-3 / max(moved, 1e-10)))))
    faster = [f for f in (scale, scale * 10, scale / 10) if f >= 10]
    return faster + slower if moved < 1e-4 else slower + faster


def train(
    work: Work, clone: Clone, steps: int, factor: float | None, most: float = math.inf
) -> Run:
    """`steps` updates of a clone at `factor` times the learning rate; the reference when None.

    most: the highest rate that a group may have.
    """
    reseed(work.program.seed + 1)
    optimizer = clone.optimizer
    if factor is None or optimizer is None:
        factor, wanted = None, [p for p in clone.model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(wanted, lr=1e-3) if wanted else None
    if optimizer is None:
        return Run(factor, broke="no parameter wants a gradient")
    reached = [min(peak, most) for peak in peaks(work)] if factor is not None else [1e-3]
    ramp = steps // 4 if warms_up(work) else 0
    x, y = probe_batch(work)
    start, accuracy_start = measured(clone, x, y)
    losses, accuracies, predicted = [], [], []
    broke = ""
    stop = time.thread_time() + 8.0
    clone.model.train()
    try:
        for number in range(steps):
            for group, peak in zip(optimizer.param_groups, reached, strict=True):
                group["lr"] = (
                    peak
                    * work.share
                    * (factor or 1.0)
                    * (min(1.0, (number + 1) / ramp) if ramp else 1.0)
                )
            value, right, promise = step(clone, optimizer, *work.lesson(number))
            losses.append(value)
            accuracies.append(right)
            predicted.append(promise)
            if not math.isfinite(value) or time.thread_time() > stop:
                break
    except Exception as error:
        broke = f"{type(error).__name__}: {error}"[:200]
    end, accuracy_end = measured(clone, x, y)
    finite = all(map(math.isfinite, losses)) and math.isfinite(end)
    finite = finite and all(bool(p.isfinite().all()) for p in clone.model.parameters())
    return Run(
        factor,
        tuple(losses),
        tuple(accuracies),
        start,
        end,
        accuracy_start,
        accuracy_end,
        samples_in(x) or 1,
        finite,
        broke,
        tuple(predicted),
    )


def step(clone: Clone, optimizer: Optimizer, x: Any, y: Any) -> tuple[float, float, float]:
    """One update; the loss, the accuracy and the decrease that the gradient promises."""
    seen: dict[str, Any] = {}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    others = [p for p in clone.model.parameters() if id(p) not in held]

    def closure() -> Tensor:
        optimizer.zero_grad()
        for p in others:
            p.grad = None
        output = clone.forward(x)
        value = clone.loss(output, y)
        value.backward()  # type: ignore[no-untyped-call]
        if not seen:
            seen["loss"], seen["right"] = float(value.detach()), accuracy(clone.pick(output), y)
        return value.detach()

    needs = inspect.signature(type(optimizer).step).parameters.get("closure")
    params = [p for group in optimizer.param_groups for p in group["params"]]
    if needs is not None and needs.default is inspect.Parameter.empty:
        optimizer.step(closure)  # type: ignore[arg-type]
        return seen["loss"], seen["right"], 0.0
    closure()
    old = [p.detach().clone() for p in params]
    grads = [None if p.grad is None else p.grad.detach().clone() for p in params]
    optimizer.step()
    promise = sum(
        float(((o - p.detach()) * g.conj()).sum().real)
        for p, o, g in zip(params, old, grads, strict=True)
        if g is not None and not g.is_sparse
    )
    return seen["loss"], seen["right"], promise


def probe_batch(work: Work) -> tuple[Any, Any]:
    """The images that runs are compared on."""
    x, _ = work.batch()
    return joined(work.program.train.batches, min(work.most, 8 * affordable(x)))


@torch.no_grad()
def measured(clone: Clone, x: Any, y: Any) -> tuple[float, float]:
    """Loss and accuracy in training mode, always with the same noise; buffers are left alone."""
    clone.model.train()
    buffers = {name: b.detach().clone() for name, b in clone.model.named_buffers()}
    state = torch.get_rng_state()
    try:
        reseed(0)
        output = clone.forward(x)
        value = float(clone.loss(output, y))
        right = accuracy(clone.pick(output), y)
    except Exception:
        value, right = math.nan, math.nan
    finally:
        torch.set_rng_state(state)
        for name, b in clone.model.named_buffers():
            if name in buffers and b.shape == buffers[name].shape:
                b.copy_(buffers[name])
    return value, right


@torch.no_grad()
def _constant(clone: Clone, x: Any, y: Any) -> float:
    try:
        clone.model.train()
        output = clone.forward(x)
        scores = clone.pick(output)
        return float(clone.loss_of_scores(torch.zeros_like(scores), y, like=output))
    except Exception:
        return math.nan
