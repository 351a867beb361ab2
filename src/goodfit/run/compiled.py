"""torch.compile for training steps, where it pays: tried on the first images, never assumed.

What happens to the images before the model sees them is compiled with it, or not with it.

A run is tried with and without it only if it is long enough to win the minute of compilation
back. What was found is written into the recipe, so that a resumed run does the same.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from goodfit.augment.pipeline import Change, Pipeline
from goodfit.batch import Batch
from goodfit.errors import TrainingError
from goodfit.recipe.recipe import Train
from goodfit.run.machine import synchronize

_SHORT = 600.0  # seconds of training, below which compilation is not tried
_STEPS = 4  # of each side that are timed, in turn
_GAIN = 0.95  # of the time of a plain step, which a compiled one must stay below
_AGREE = 0.05  # of the loss: dropout draws other numbers in compiled code
_ALIKE = 0.5  # of the gradient's norm, which moves more


class Tried(NamedTuple):
    """Whether to compile, and in words why; the words are empty where nothing was tried."""

    pays: bool
    said: str


def stepping(model: nn.Module, train: Train) -> nn.Module:
    """The model as training steps call it: compiled where the recipe says so."""
    if train.compile is not True:
        return model
    made: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    return made


@contextmanager
def compiling(train: Train) -> Iterator[None]:
    """Says it clearly when the compiler that the recipe asks for fails: in the first step."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(
                "torch.compile cannot compile this model here",
                at="train.compile",
                seen=_first_line(error),
                fix="set train.compile = false",
            ) from None
        raise
    finally:
        if train.compile is True:
            uncompiled(False)


def uncompiled(now: bool) -> None:
    """Run compiled models as they are written, for as long as something listens to their layers."""
    torch.compiler.set_stance("force_eager" if now else "default")


def tried(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    precision: torch.dtype,
    *,
    augment: Sequence[Change] = (),
    steps: int | None,
    seconds: float | None = None,
    shapes: int = 1,
) -> Tried:
    """Whether a run of `steps` updates, or of `seconds`, gets through sooner compiled.

    images, targets: of one update, in the run's layout. augment: what changes the images. shapes:
    sizes of images that the run goes through, each of which is compiled. Uses `model` up.
    """
    batch = Batch(images, targets, torch.arange(len(images)))
    plain_step = _Step(batch, Pipeline(augment), loss, precision)
    plain = min(plain_step(model).seconds for _ in range(2))
    whole = seconds if seconds is not None else plain * (steps or 0)
    if whole < _SHORT:
        return Tried(False, "")
    try:
        made: nn.Module = torch.compile(copy.deepcopy(model), dynamic=False)  # type: ignore[assignment]
        step = _Step(batch, Pipeline(augment, compile=True), loss, precision)
        began = time.perf_counter()
        step(made)
        cost = (time.perf_counter() - began) * shapes
        pairs = [(plain_step(model), step(made)) for _ in range(_STEPS)]
    except Exception as error:  # whatever a compiler raises on a foreign model or machine
        return Tried(False, f"torch.compile does not work here ({_first_line(error)}): not used")
    if wrong := _unlike(*pairs[0]):
        return Tried(False, f"torch.compile gives another {wrong}: not used")
    plain = median(a.seconds for a, _ in pairs)
    fast = median(b.seconds for _, b in pairs)
    saved = whole * (1 - fast / plain) - cost
    pays = fast < _GAIN * plain and saved > 0
    times = f"{fast * 1e3:.0f} ms a step compiled, {plain * 1e3:.0f} ms as it is"
    return Tried(
        pays, f"torch.compile: {times}, {cost:.0f} s to compile: {'' if pays else 'not '}used"
    )


class _Took(NamedTuple):
    """What a step gave, and its seconds."""

    loss: float
    norm: float  # of the gradient
    seconds: float


def _unlike(plain: _Took, compiled: _Took) -> str:
    """What a compiled step got wrong; nothing if all is well."""
    for what, share in (("loss", _AGREE), ("norm", _ALIKE)):
        mine, theirs = getattr(plain, what), getattr(compiled, what)
        if not abs(mine - theirs) <= share * max(1.0, abs(mine)):  # nan is unlike everything
            word = "loss," if what == "loss" else "gradient, its norm"
            return f"{word} {theirs:g} where it is {mine:g}"
    return ""


class _Step:
    """One change of the images, forward and backward pass."""

    def __init__(
        self, batch: Batch, pipeline: Pipeline, loss: Callable[..., Tensor], precision: torch.dtype
    ) -> None:
        self.batch, self.pipeline, self.loss, self.precision = batch, pipeline, loss, precision

    def __call__(self, model: nn.Module) -> _Took:
        device = self.batch.images.device
        mixed: Any = nullcontext()
        if self.precision != torch.float32:
            mixed = torch.autocast(device.type, self.precision)
        synchronize(device)
        start = time.perf_counter()
        images, targets = self.pipeline(self.batch)[:2]
        with mixed:
            output = model(images)
            logits = output if isinstance(output, Tensor) else output[0]
        value = self.loss(logits.float(), targets)
        value.backward()  # type: ignore[no-untyped-call]
        synchronize(device)
        took = time.perf_counter() - start
        norm = get_total_norm([w.grad for w in model.parameters() if w.grad is not None])
        model.zero_grad(set_to_none=True)
        return _Took(float(value.detach()), float(norm), took)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:100]}" if lines else type(error).__name__
