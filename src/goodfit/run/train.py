"""Training a recipe: from data to a finished run directory, interruptible at any moment.

`progress` is a generator like `fit`: it yields what happened, the caller shows it. What it did
up to the last checkpoint is never lost, and what it does after a resume is what it would have
done: every draw is a function of seed, epoch and sample, and the rest is in the checkpoint.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, log
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goodfit.check import Finding
from goodfit.check.watch import Watcher
from goodfit.data import Splits
from goodfit.data.loader import Loader
from goodfit.errors import RunError
from goodfit.fit import Step, fit
from goodfit.metrics import Score
from goodfit.optim.averages import EMA, SWA, recompute_batch_norm
from goodfit.recipe.recipe import Recipe, Train
from goodfit.run.build import Pieces, seeded, steps_of
from goodfit.run.checkpoint import load_state, save_state, save_weights
from goodfit.run.directory import RunDirectory
from goodfit.run.evaluate import glance, tested
from goodfit.run.machine import synchronize
from goodfit.run.sizes import Sized
from goodfit.run.snapshots import snapshots_of
from goodfit.run.world import World

_ASKS_EVERY = 16  # steps between questions among processes


class Job(NamedTuple):
    """A resolved recipe with its data and its place."""

    recipe: Recipe
    splits: Splits
    loader: Loader
    testing: dict[str, Loader]  # by split: val, and test where there is one
    directory: RunDirectory
    world: World


class Progress(NamedTuple):
    """What the display shows after some steps."""

    step: int
    steps: int
    epoch: float
    loss: float
    lr: float
    images_per_second: float
    evaluation: Score | None = None
    findings: tuple[Finding, ...] = ()  # new ones of the doctor


class Interrupted(RunError):
    """A signal asked the run to stop; everything is saved."""


def progress(job: Job, pieces: Pieces, *, resume: bool = False) -> Iterator[Progress]:
    """Train to the end, then evaluate; yields every second or so and at each evaluation."""
    training = _Training(job, pieces)
    try:
        yield from training.run(resume)
    finally:
        if training.watcher is not None:
            training.watcher.close()  # its hooks are the model's no longer


class _Training:
    """The state of a running job. Its methods are the parts of one loop."""

    def __init__(self, job: Job, pieces: Pieces) -> None:
        self.job, self.pieces = job, pieces
        self.recipe, self.loader, self.world = job.recipe, job.loader, job.world
        train = self.recipe.train
        self.steps = steps_of(self.recipe, self.loader)
        self.net = self.world.wrapped(pieces.model)
        if train.compile is True:
            self.net = torch.compile(self.net)  # type: ignore[assignment]
        self.average, self.average_from = average_of(train, self.steps)
        self.snapshots = snapshots_of(self.recipe.schedule, self.steps)
        self.seconds = 0.0  # spent training before this process
        self.best = -1.0
        every = self.recipe.evaluate.every or max(1.0, train.epochs / 10)
        self.every = max(1, round(every * len(self.loader) / train.accumulate))
        self.rows: list[dict[str, Any]] = []  # log lines not written yet
        self.watcher = (
            Watcher(
                pieces.model,
                pieces.optimizer,
                total=self.steps,
                chance=log(len(job.splits.classes)),
            )
            if train.check
            else None
        )

    def run(self, resume: bool) -> Iterator[Progress]:
        first = self._restored() + 1 if resume else self._started()
        began = self.last_saved = time.monotonic()
        spent = self.seconds
        with asked_to_stop() as stop:
            mark, images, pending = time.monotonic(), 0, list[Step]()
            for step in fit(self.net, self._batches(first), first=first, **self._settings()):
                pending.append(step)
                images += step.images * self.world.size
                if self.average is not None and step.number > self.average_from:
                    self.average.update(self.pieces.model)
                now = time.monotonic()
                self.seconds = spent + now - began
                last = step.number == self.steps
                evaluates = step.number % self.every == 0 or last
                due = now - self.last_saved > self.recipe.train.checkpoint_seconds
                saves, stops = evaluates, False
                if self.world.size == 1 or step.number % _ASKS_EVERY == 0:  # asking costs a wait
                    saves, stops = self.world.agree((due or evaluates or stop(), stop()))
                if now - mark > 1 or saves or step.number == first:
                    rate = images / max(now - mark, 1e-9)
                    yield self._logged(pending, rate)
                    mark, images, pending = time.monotonic(), 0, []
                if step.number in self.snapshots:
                    self._snapped(self.snapshots[step.number])
                looked = None
                if evaluates:
                    looked = self._evaluated(step)
                    yield looked
                    began += time.monotonic() - now  # evaluation is not training time
                    mark = time.monotonic()
                new = self._watched(step, looked)
                if new:
                    yield now_at(step, self.steps, self._epoch(step.number), findings=new)
                if saves:
                    self._saved(step.number)
                if stops:
                    path = self.job.directory.path
                    raise Interrupted(
                        f"stopped after step {step.number} of {self.steps}; everything is saved",
                        at=str(path),
                        fix=f"go on with: goodfit resume {path}",
                    )
        self._finished()

    def _watched(self, step: Step, looked: Progress | None) -> tuple[Finding, ...]:
        """What the doctor sees in passing; kept in findings.json."""
        if self.watcher is None:
            return ()
        seen = {}
        if looked is not None and looked.evaluation is not None:
            score = looked.evaluation
            seen = {"val_loss": score.nll, "val_accuracy": score.accuracy}
        new = self.watcher.step(step.number, step.loss, **seen)
        if new and self.world.main:
            known = self.job.directory.findings()
            self.job.directory.write("findings.json", known + [f.to_dict() for f in new])
        return tuple(new)

    def _settings(self) -> dict[str, Any]:
        recipe, train = self.recipe, self.recipe.train
        return {
            "optimizer": self.pieces.optimizer,
            "loss": self.pieces.loss,
            "steps": self.steps,
            "schedule": recipe.schedule,
            "augment": changes_of(self.job),
            "penalties": recipe.penalties,
            "clip_norm": train.clip_norm or float("inf"),
            "accumulate": train.accumulate,
            "precision": self.pieces.precision,
            "seed": train.seed,
        }

    def _batches(self, first: int) -> "Sized":
        done = (first - 1) * self.recipe.train.accumulate
        self.loader.at(*divmod(done, len(self.loader)))
        total = self.steps * self.recipe.train.accumulate
        return Sized(
            self.loader, self.recipe.train.sizes, done, total, bool(self.recipe.train.channels_last)
        )

    def _started(self) -> int:
        seeded(self.recipe.train.seed + self.world.rank, "layers")
        return 1

    def _restored(self) -> int:
        state = load_state(self.job.directory.checkpoints / "last.pt")
        self.pieces.model.load_state_dict(state["model"])
        self.pieces.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
            self.average.to(self.world.device)
        self.seconds, self.best = state["seconds"], state["best"]
        ranks = state["random"]
        if self.world.rank < len(ranks):
            torch.set_rng_state(ranks[self.world.rank]["cpu"])
            if self.world.device.type == "cuda":
                torch.cuda.set_rng_state(ranks[self.world.rank]["cuda"], self.world.device)
        if self.world.main:
            self.job.directory.rewind(state["step"])
        return int(state["step"])

    def _saved(self, step: int) -> None:
        mine = {"cpu": torch.get_rng_state()}
        if self.world.device.type == "cuda":
            mine["cuda"] = torch.cuda.get_rng_state(self.world.device)
        random = self.world.gathered_objects(mine)
        self.last_saved = time.monotonic()
        if not self.world.main:
            return
        self._flush()
        state = {
            "step": step,
            "model": self.pieces.model.state_dict(),
            "optimizer": self.pieces.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "random": random,
            "seconds": self.seconds,
            "best": self.best,
        }
        save_state(self.job.directory.checkpoints / "last.pt", state)

    def _snapped(self, name: str) -> None:
        """Keep the weights at the end of a cycle, as they are evaluated."""
        with self._averaged():
            if self.world.main:
                place = self.job.directory.checkpoints / f"{name}.safetensors"
                save_weights(place, self.pieces.model)

    def _flush(self) -> None:
        if self.rows and self.world.main:
            self.job.directory.append("steps.jsonl", self.rows)
        self.rows = []

    def _epoch(self, step: int) -> float:
        return step * self.recipe.train.accumulate / len(self.loader)

    def _logged(self, pending: list[Step], rate: float) -> Progress:
        """Move a stretch of steps to the log. Reads them from the device in one go."""
        losses = torch.stack([s.loss for s in pending]).float().tolist()
        norms = torch.stack([s.grad_norm for s in pending]).float().tolist()
        for step, loss, norm in zip(pending, losses, norms, strict=True):
            self.rows.append(
                {
                    "step": step.number,
                    "epoch": round(self._epoch(step.number), 4),
                    "loss": loss,
                    "lr": step.lr,
                    "grad_norm": norm,
                    "seconds": round(self.seconds, 3),
                    "images_per_second": round(rate, 1),
                }
            )
        last = pending[-1]
        mean = sum(losses) / len(losses)
        return Progress(last.number, self.steps, self._epoch(last.number), mean, last.lr, rate)

    @contextmanager
    def _averaged(self) -> Iterator[nn.Module]:
        """The model as it is evaluated: with averaged weights where the recipe averages."""
        optimizer: Any = self.pieces.optimizer
        if self.average is not None and self.average.count:
            self._settled()
            with self.average.swapped(self.pieces.model):
                yield self.pieces.model
        elif hasattr(optimizer, "swapped"):  # Lookahead and schedule-free test other weights
            with optimizer.swapped(), self._own_statistics():
                yield self.pieces.model
        else:
            yield self.pieces.model

    @contextmanager
    def _own_statistics(self) -> Iterator[None]:
        """Batch norm's statistics of the weights that are tested, for the time of a `with`."""
        model = self.pieces.model
        kept = {name: t.clone() for name, t in model.named_buffers()}
        recompute_batch_norm(model, self._some())
        try:
            yield
        finally:
            for name, t in model.named_buffers():
                t.copy_(kept[name])

    def _some(self) -> list[Tensor]:
        """Training images of 16 batches, as they are stored."""
        place = self.loader.epoch, self.loader.batch
        some = [b.images for _, b in zip(range(16), self.loader.at(0, 0), strict=False)]
        self.loader.at(*place)
        return some

    def _settled(self) -> None:
        """An even average has no batch norm statistics of its own: compute them."""
        if isinstance(self.average, SWA):
            self.average.settle(self.pieces.model, self._some())

    def _evaluated(self, step: Step) -> Progress:
        synchronize(self.world.device)
        with self._averaged() as model:
            found = glance(self.job, model)
            if found.accuracy > self.best:
                self.best = found.accuracy
                if self.world.main:
                    save_weights(
                        self.job.directory.checkpoints / "best.safetensors", self.pieces.model
                    )
        epoch = self._epoch(step.number)
        row = {
            "step": step.number,
            "epoch": round(epoch, 4),
            "val_accuracy": found.accuracy,
            "val_loss": found.nll,
            "seconds": round(self.seconds, 3),
        }
        if self.world.main:
            self.job.directory.append("evaluations.jsonl", [row])
        return now_at(step, self.steps, epoch, evaluation=found)

    def _finished(self) -> None:
        if self.average is not None:
            self._settled()
            self.average.apply_to(self.pieces.model)
            self.average = None
        with self._averaged() as model:
            self._kept(model)

    def _kept(self, model: nn.Module) -> None:
        """Write the weights that are tested, and test them."""
        if self.world.main:
            about = {"classes": list(self.pieces.model.classes), "step": self.steps}
            save_weights(
                self.job.directory.checkpoints / "last.safetensors", self.pieces.model, about
            )
        tested(self.job, self.pieces.model, seconds=self.seconds, steps=self.steps)


def now_at(step: Step, steps: int, epoch: float, **more: Any) -> Progress:
    """A step as progress, with what else there is to show."""
    return Progress(step.number, steps, epoch, float(step.loss), step.lr, 0.0, **more)


def changes_of(job: Job) -> tuple[Any, ...]:
    """The augmentations that are left for the batch: decoding may have done the first one."""
    return job.recipe.augment[1:] if job.loader.boxes is not None else job.recipe.augment


def average_of(train: Train, steps: int) -> tuple[EMA | SWA | None, int]:
    """The average of weights that the recipe asks for, and the step after which it begins."""
    if train.ema:
        return EMA(train.ema), 0
    if train.swa:
        return SWA(), min(steps - 1, ceil(steps * (1 - train.swa)))
    return None, 0


@contextmanager
def asked_to_stop() -> Iterator[Any]:
    """Turns SIGTERM and Ctrl-C into a question that the loop asks between two steps."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if asked:  # a second Ctrl-C means now
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: the caller owns the signals
        old = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
