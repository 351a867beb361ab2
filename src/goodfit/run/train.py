"""Training a recipe: from data to a finished run directory, interruptible at any moment.

`progress` is a generator like `fit`: it yields what happened, the caller shows it. What it did
up to the last checkpoint is never lost, and what it does after a resume is what it would have
done: every draw is a function of seed, epoch and sample, and the rest is in the checkpoint.
"""

import time
from collections.abc import Iterator
from math import log
from typing import Any

import torch

from goodfit.augment.pipeline import Pipeline
from goodfit.check.watch import Watcher
from goodfit.errors import TrainingError
from goodfit.fit import Step, fit
from goodfit.run.build import Pieces, seeded, steps_of
from goodfit.run.checkpoint import random_state, restore, save_state, save_weights, set_random
from goodfit.run.compiled import compiling, stepping, uncompiled
from goodfit.run.evaluate import glance, tested
from goodfit.run.job import Interrupted, Job, Progress, changes_of
from goodfit.run.log import Log
from goodfit.run.machine import synchronize
from goodfit.run.signals import asked_to_stop
from goodfit.run.sizes import Sized
from goodfit.run.snapshots import snapshots_of
from goodfit.run.tested_weights import TestedWeights

_ASKS_EVERY = 16  # steps between questions among processes
_LOOKS_EVERY = 50  # steps between two looks of the doctor


def progress(job: Job, pieces: Pieces, *, resume: bool = False) -> Iterator[Progress]:
    """Train to the end, then evaluate; yields every second or so and at each evaluation."""
    training = _Training(job, pieces)
    try:
        with compiling(job.recipe.train):
            yield from training.run(resume)
    except TrainingError as error:
        error.seen["kept"] = f"the last good state, in {job.directory.checkpoints}"
        raise
    finally:
        if training.watcher is not None:
            training.watcher.close()  # its hooks are the model's no longer


def begun(job: Job, pieces: Pieces) -> None:
    """Keep what training begins with as a checkpoint: for weights that no recipe makes again."""
    training = _Training(job, pieces)
    training._started()
    training._saved(0)
    if training.watcher is not None:
        training.watcher.close()


class _Training:
    """The state of a running job. Its methods are the parts of one loop."""

    def __init__(self, job: Job, pieces: Pieces) -> None:
        self.job, self.pieces = job, pieces
        self.recipe, self.loader, self.world = job.recipe, job.loader, job.world
        train = self.recipe.train
        self.steps = steps_of(self.recipe, self.loader)
        self.net = stepping(self.world.wrapped(pieces.model), train)
        self.tested = TestedWeights(train, self.steps, pieces.model, pieces.optimizer, self.loader)
        self.snapshots = snapshots_of(self.recipe.schedule, self.steps)
        self.seconds = 0.0  # spent training before this process
        self.best = -1.0
        self.log = Log(
            job.directory if self.world.main else None, len(self.loader) / train.accumulate
        )
        every = self.recipe.evaluate.every or max(1.0, train.epochs / 10)
        self.every = max(1, round(every * self.log.per_epoch))
        self.watcher = self._watcher() if train.check else None

    def run(self, resume: bool) -> Iterator[Progress]:
        first = self._restored() + 1 if resume else self._started()
        began = self.last_saved = mark = time.monotonic()
        spent, images = self.seconds, 0
        with asked_to_stop() as stop:
            for step in self._trained(first):
                self.log.add(step)
                images += step.images * self.world.size
                self.tested.after(step.number)
                now = time.monotonic()
                self.seconds = spent + now - began
                due = step.number % self.every == 0 or step.number == self.steps
                saves, stops = self._asked(step.number, due, stop(), now)
                if now - mark > 1 or saves or step.number == first:
                    rate = images / max(now - mark, 1e-9)
                    yield self._at(step, self.log.read(self.seconds, rate), images_per_second=rate)
                    mark, images = time.monotonic(), 0
                if step.number in self.snapshots:
                    self._snapped(self.snapshots[step.number])
                looked = None
                if due and "val" in self.job.testing:
                    looked = self._evaluated(step)
                    yield looked
                    began += time.monotonic() - now  # evaluation is not training time
                    mark = time.monotonic()
                if new := self._watched(step, looked):
                    yield self._at(step, float(step.loss), findings=new)
                if saves and bool(torch.isfinite(step.grad_norm)):  # otherwise fit will stop
                    self._saved(step.number)
                if stops:
                    raise self._interrupted(step.number)
        self._finished()

    def _trained(self, first: int) -> Iterator[Step]:
        """The updates, from the first one on that is not done."""
        recipe, train = self.recipe, self.recipe.train
        done = (first - 1) * train.accumulate
        self.loader.at(*divmod(done, len(self.loader)))
        total = self.steps * train.accumulate
        return fit(
            self.net,
            Sized(self.loader, train.sizes, done, total, bool(train.channels_last)),
            optimizer=self.pieces.optimizer,
            loss=self.pieces.loss,
            steps=self.steps,
            schedule=recipe.schedule,
            augment=Pipeline(changes_of(self.job), train.seed, compile=train.compile is True),
            penalties=recipe.penalties,
            clip_norm=train.clip_norm or float("inf"),
            accumulate=train.accumulate,
            precision=self.pieces.precision,
            first=first,
        )

    def _asked(self, step: int, evaluates: bool, stop: bool, now: float) -> tuple[bool, bool]:
        """Whether all processes save, and stop, after this step."""
        due = now - self.last_saved > self.recipe.train.checkpoint_seconds
        if self.world.size > 1 and step % _ASKS_EVERY:  # asking costs a wait
            return evaluates, False
        saves, stops = self.world.agree((due or evaluates or stop, stop))
        return saves, stops

    def _at(
        self, step: Step, loss: float, *, images_per_second: float = 0.0, **more: Any
    ) -> Progress:
        """A step as progress, with what else there is to show."""
        epoch = self.log.epoch(step.number)
        return Progress(step.number, self.steps, epoch, loss, step.lr, images_per_second, **more)

    def _started(self) -> int:
        seeded(self.recipe.train.seed + self.world.rank, "layers")
        if self.world.main:
            self.job.directory.rewind(0)
        return 1

    def _restored(self) -> int:
        place = self.job.directory.checkpoints / "last.pt"
        state = restore(place, self.pieces.model, self.pieces.optimizer)
        self.tested.load_state_dict(state["average"], self.world.device)
        self.seconds, self.best = state["seconds"], state["best"]
        if self.world.rank < len(state["random"]):
            set_random(state["random"][self.world.rank], self.world.device)
        if self.world.main:
            self.job.directory.rewind(state["step"])
        return int(state["step"])

    def _saved(self, step: int) -> None:
        random = self.world.gathered_objects(random_state(self.world.device))
        self.last_saved = time.monotonic()
        self.log.flush()
        if not self.world.main:
            return
        state = {
            "step": step,
            "model": self.pieces.model.state_dict(),
            "optimizer": self.pieces.optimizer.state_dict(),
            "average": self.tested.state_dict(),
            "random": random,
            "seconds": self.seconds,
            "best": self.best,
        }
        save_state(self.job.directory.checkpoints / "last.pt", state)

    def _snapped(self, name: str) -> None:
        """Keep the weights at the end of a cycle, as they are evaluated."""
        with self.tested.lent() as model:
            if self.world.main:
                save_weights(self.job.directory.checkpoints / f"{name}.safetensors", model)

    def _evaluated(self, step: Step) -> Progress:
        synchronize(self.world.device)
        with self.tested.lent() as model:
            found = glance(self.job, model)
            if found.accuracy > self.best:
                self.best = found.accuracy
                if self.world.main:
                    save_weights(self.job.directory.checkpoints / "best.safetensors", model)
        row = {
            "step": step.number,
            "epoch": round(self.log.epoch(step.number), 4),
            "val_accuracy": found.accuracy,
            "val_loss": found.nll,
            "seconds": round(self.seconds, 3),
        }
        if self.world.main:
            self.job.directory.append("evaluations.jsonl", [row])
        return self._at(step, float(step.loss), evaluation=found)

    def _watcher(self) -> Watcher:
        return Watcher(
            self.pieces.model,
            self.pieces.optimizer,
            every=_LOOKS_EVERY,
            total=self.steps,
            chance=log(len(self.job.splits.classes)),
        )

    def _watched(self, step: Step, looked: Progress | None) -> tuple[Any, ...]:
        """What the doctor sees in passing; kept in findings.json."""
        if self.watcher is None:
            return ()
        seen = {}
        if looked is not None and looked.evaluation is not None:
            score = looked.evaluation
            seen = {"val_loss": score.nll, "val_accuracy": score.accuracy}
        new = self.watcher.step(step.number, step.loss, **seen)
        if self.recipe.train.compile is True:  # compiled code does not call the doctor's hooks
            uncompiled((step.number + 1) % _LOOKS_EVERY == 0)
        if self.world.main:
            self.job.directory.add_findings([f.to_dict() for f in new])
        return tuple(new)

    def _interrupted(self, step: int) -> Interrupted:
        path = self.job.directory.path
        return Interrupted(
            f"stopped after step {step} of {self.steps}; everything is saved",
            at=str(path),
            fix=f"go on with: goodfit resume {path}",
        )

    def _finished(self) -> None:
        """Write the weights that are tested, and test them."""
        with self.tested.for_good() as model:
            if self.world.main:
                about = {"classes": list(self.pieces.model.classes), "step": self.steps}
                save_weights(self.job.directory.checkpoints / "last.safetensors", model, about)
            tested(self.job, model, seconds=self.seconds, steps=self.steps)
