"""The fastest way to run a trained model on this device: measured, never assumed.

    quick = quickened(model, some_images)
    predict(quick.model, images, precision=quick.precision)

Candidates are the model as it is, channels last, batch norms folded into the convolutions before
them, bfloat16, and with `compile=True` torch.compile on top (a minute of compilation: for many
images). Each is timed in turn on the images given, and taken only if its probabilities stay
within `tolerance` of the model's own.

Not for training: folded batch norms no longer learn.
"""

import copy
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from goodfit.predict import Classifier, logits_of


class Quick(NamedTuple):
    """A model made fast, how to call it, and what every candidate took per image."""

    model: nn.Module
    precision: torch.dtype
    how: str
    seconds: dict[str, float]


class _Candidate(NamedTuple):
    how: str
    model: nn.Module
    precision: torch.dtype


def quickened(
    model: nn.Module,
    images: Tensor,
    *,
    compile: bool = False,  # noqa: A002
    tolerance: float = 0.02,
    repeats: int = 3,
) -> Quick:
    """The fastest candidate on `images` (n, c, h, w); 16 are enough. Leaves `model` as it was."""
    plain = copy.deepcopy(model).eval()
    own, _ = _timed(plain, images, torch.float32)
    best: dict[str, float] = {}
    made: dict[str, _Candidate] = {}
    for candidate in _candidates(plain, compile):
        hopeless = 5 * min(best.values(), default=float("inf"))
        found, took = _timed(candidate.model, images, candidate.precision, hopeless)
        if found.shape == own.shape and (found - own).abs().max() <= tolerance:
            made[candidate.how], best[candidate.how] = candidate, took
    for _ in range(repeats):
        for how, (_, quick, precision) in made.items():
            if best[how] < 3 * min(best.values()):  # others are hopeless, and slow
                best[how] = min(best[how], _timed(quick, images, precision)[1])
    how = min(best, key=best.__getitem__)
    seconds = {name: took / len(images) for name, took in best.items()}
    return Quick(made[how].model, made[how].precision, how, seconds)


def _candidates(plain: nn.Module, compiled: bool) -> Iterator[_Candidate]:
    yield _Candidate("as it is", plain, torch.float32)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    yield _Candidate("channels last", last, torch.float32)
    folded = _folded(last)
    how = "channels last" if folded is last else "channels last, batch norms folded"
    if folded is not last:
        yield _Candidate(how, folded, torch.float32)
    yield _Candidate(f"{how}, bfloat16", folded, torch.bfloat16)
    if compiled:
        for precision, said in ((torch.float32, ""), (torch.bfloat16, ", bfloat16")):
            yield _Candidate(f"{how}{said}, compiled", _compiled(folded), precision)


def _folded(model: nn.Module) -> nn.Module:
    """The model with its batch norms folded, or itself where its forward cannot be traced."""
    try:
        if isinstance(model, Classifier):
            return Classifier(model.preprocess, fuse(model.net), model.classes).eval()
        return fuse(model)
    except Exception:  # whatever a foreign forward raises under tracing
        return model


def _compiled(model: nn.Module) -> nn.Module:
    made: nn.Module = torch.compile(copy.deepcopy(model))  # type: ignore[assignment]
    return made


def _timed(
    model: nn.Module, images: Tensor, precision: torch.dtype, hopeless: float = float("inf")
) -> tuple[Tensor, float]:
    """Probabilities, and the seconds of a pass after the first, which builds plans and caches.

    A first pass of more than `hopeless` seconds is not repeated.
    """
    device = images.device.type
    took, compiled = 0.0, hasattr(model, "_orig_mod")
    with (
        torch.inference_mode(),
        torch.autocast(device, precision, enabled=precision != torch.float32),
    ):
        for _ in range(2):
            start = time.perf_counter()
            found = logits_of(model(images)).float().softmax(1)
            found.sum().item()  # waits for the device
            took = time.perf_counter() - start
            if took > hopeless and not compiled:
                break
    return found, took
