"""Run forward, loss, backward and step once; say where the first one raises."""

import time
import traceback
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from goodfit.check.program import reseed
from goodfit.check.work import Work


@dataclass(frozen=True)
class DryRun:
    """stage: "" or one of forward, loss, backward, step, eval; where: the module that raised."""

    stage: str = ""
    error: str = ""
    where: str = ""
    scores: tuple[int, ...] = ()  # shape of the logits
    loss_shape: tuple[int, ...] = ()
    targets: str = ""
    seconds: float = 0.0
    nonfinite: str = ""  # first module with a non-finite output from finite inputs
    loss: float = 0.0


def dry_run(work: Work) -> DryRun:
    """One full step on every stage, on a clone, timed the second time."""
    x, y = work.batch()
    said = (
        f"{tuple(y.shape)} {y.dtype}".replace("torch.", "")
        if isinstance(y, Tensor)
        else type(y).__name__
    )
    try:
        clone = work.program.clone()
    except Exception as error:
        return DryRun("clone", _said(error), "the model", targets=said)
    reseed(work.program.seed)
    clone.model.train()
    watcher = Watcher(clone.model)
    stage, value = "forward", 0.0
    scores: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    try:
        with watcher:
            output = clone.forward(x)
        picked = clone.pick(output)
        scores = tuple(picked.shape)
        stage = "loss"
        loss = clone.loss(output, y)
        shape = tuple(loss.shape)
        value = float(loss.detach().float().mean())
        stage = "backward"
        loss.backward()  # type: ignore[no-untyped-call]
        stage = "step"
        start = time.thread_time()
        if clone.optimizer is not None:
            from goodfit.check.probes.training import step

            step(clone, clone.optimizer, x, y)
        else:
            clone.loss(clone.forward(x), y).backward()  # type: ignore[no-untyped-call]
        work.step_seconds = time.thread_time() - start
        stage = "eval"
        clone.model.eval()
        with torch.no_grad():
            clone.scores(x)
    except Exception as error:
        where = watcher.inside() if stage == "forward" else _line(error)
        return DryRun(
            stage, _said(error), where, scores, shape, said, nonfinite=watcher.nonfinite, loss=value
        )
    return DryRun("", "", "", scores, shape, said, work.step_seconds, watcher.nonfinite, value)


def _said(error: BaseException) -> str:
    first = getattr(error, "problem", str(error)).strip().splitlines()
    return f"{type(error).__name__}: {first[0] if first else ''}"[:240]


def _line(error: BaseException) -> str:
    """The last line of the user's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/torch/" not in f.filename and "/goodfit/check/" not in f.filename]
    return f"{own[-1].filename.rpartition('/')[2]}:{own[-1].lineno}" if own else "the loss"


class Watcher:
    """Notes the running module, and the first that makes a non-finite output of finite inputs."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.stack, self.nonfinite = model, [""], ""
        self._deepest = ""
        self._handles: list[Any] = []

    def __enter__(self) -> "Watcher":
        for name, module in self.model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter(name)))
            self._handles.append(module.register_forward_hook(self._leave(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str) -> Any:
        def enter(*_: Any) -> None:
            self.stack.append(name)

        return enter

    def _leave(self, name: str) -> Any:
        def leave(_: nn.Module, inputs: Any, output: Any) -> None:
            self.stack.pop()
            if not self.nonfinite and _bad(output) and not _bad(inputs):
                self.nonfinite = name or "the model"

        return leave

    def inside(self) -> str:
        return self.stack[-1] or "the model"


def _bad(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(value.detach().isfinite().all())
    if isinstance(value, (tuple, list)):
        return any(_bad(part) for part in value)
    return False
