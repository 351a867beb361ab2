"""The fastest way to run a trained model on this device: measured, never assumed.

    quick = quickened(model, some_images)
    predict(quick.model, images, precision=quick.precision)

Candidates are the model as it is, channels last, batch norms folded into the convolutions before
them, parts of a batch that fit the cache, bfloat16, and with `compile=True` torch.compile with
frozen weights (a minute of compilation: for many images). Each is timed in turn on the images
given, and taken only if its probabilities stay within `tolerance` of the model's own.

`quick_for` is for a known number of images: what must give the same bits every time is only
folded, and the candidates are timed where there are so many images that it pays.

Not for training: folded batch norms no longer learn.
"""

import copy
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from goodfit.batch import as_float
from goodfit.predict import Classifier, logits_of

_FEW = 500  # images, up to which nothing pays
_LONG = 300.0  # seconds of work, from which the minutes of trying and compiling pay
_SAME = 1e-3  # of a probability: what another order of the same sums may change
_PARTS = (64, 16, 4)  # images of a batch that go through the net together
_HOPELESS = 3.0  # times the best, from which a candidate is not timed again


class Quick(NamedTuple):
    """A model made fast, how to call it, and what every candidate took per image."""

    model: nn.Module
    precision: torch.dtype
    how: str
    seconds: dict[str, float]


class InParts(nn.Module):
    """Runs a batch `size` images at a time: what stays in the cache is not fetched again.

    padded: the last part is filled up with its first image, for code compiled for one shape.
    """

    def __init__(self, model: nn.Module, size: int, *, padded: bool = False) -> None:
        super().__init__()
        self.model, self.size, self.padded = model, size, padded

    def forward(self, images: Tensor) -> Tensor:
        rows = [self._run(part) for part in torch.split(images, self.size)]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _run(self, part: Tensor) -> Tensor:
        missing = self.size - len(part)
        if not self.padded or not missing:
            return logits_of(self.model(part))
        full = torch.cat([part, part[:1].expand(missing, *part.shape[1:])])
        return logits_of(self.model(full))[: len(part)]


class _Candidate(NamedTuple):
    how: str
    model: nn.Module
    precision: torch.dtype


def quick_for(
    model: nn.Module, images: Tensor, count: int, precision: torch.dtype = torch.float32
) -> Quick:
    """The model for `count` images like `images` (n, c, h, w): a batch of them, one precision."""
    plain = Quick(model, precision, "as it is", {})
    if count <= _FEW:
        return plain
    images = as_float(images)
    quick = folded(model, images[:4])
    _, took = _timed(quick, images[:64], precision)
    if took / len(images[:64]) * count > _LONG:
        return quickened(
            model, images, compile=True, precisions=(precision,), tolerance=_SAME, repeats=1
        )
    return plain if quick is model else plain._replace(model=quick, how="batch norms folded")


def folded(model: nn.Module, images: Tensor) -> nn.Module:
    """The model with its batch norms folded, if that gives the same on `images`; or itself."""
    training = {module for module in model.modules() if module.training}
    quick = _folded(model.eval())
    try:
        if quick is not model and not _same(_logits(quick, images), _logits(model, images)):
            quick = model
    finally:
        for module in training:
            module.training = True
    return quick


def quickened(
    model: nn.Module,
    images: Tensor,
    *,
    compile: bool = False,  # noqa: A002
    precisions: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16),
    tolerance: float = 0.02,
    repeats: int = 3,
) -> Quick:
    """The fastest candidate on `images` (n, c, h, w), a batch as they will come; `model` stays.

    precisions: those in question; the model's own probabilities are those in the first one.
    """
    plain = copy.deepcopy(model).eval()
    own, _ = _timed(plain, images, precisions[0])
    best: dict[str, float] = {}
    made: dict[str, _Candidate] = {}
    for candidate in _candidates(plain, len(images), compile, precisions):
        hopeless = 5 * min(best.values(), default=float("inf"))
        try:
            found, took = _timed(candidate.model, images, candidate.precision, hopeless)
        except Exception:
            if not getattr(candidate.model, "padded", False):
                raise
            continue  # whatever a compiler raises on a foreign model or machine
        if found.shape == own.shape and (found - own).abs().max() <= tolerance:
            made[candidate.how], best[candidate.how] = candidate, took
    for _ in range(repeats):
        for how, (_, quick, precision) in made.items():
            if best[how] < _HOPELESS * min(best.values()):
                best[how] = min(best[how], _timed(quick, images, precision)[1])
    how = min(best, key=best.__getitem__)
    seconds = {name: took / len(images) for name, took in best.items()}
    return Quick(made[how].model, made[how].precision, how, seconds)


def _candidates(
    plain: nn.Module, count: int, compiled: bool, precisions: tuple[torch.dtype, ...]
) -> Iterator[_Candidate]:
    """All ways to run the model in the first precision, and the likeliest ones in the others."""
    first = precisions[0]
    yield _Candidate("as it is", plain, first)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    yield _Candidate("channels last", last, first)
    quick = _folded(last)
    how = "channels last" if quick is last else "channels last, batch norms folded"
    if quick is not last:
        yield _Candidate(how, quick, first)
    for size in _PARTS:
        if size < count:
            yield _Candidate(f"{how}, {size} at a time", InParts(quick, size), first)
    for precision in precisions[1:]:
        yield _Candidate(f"{how}, {str(precision)[6:]}", quick, precision)
    for precision in precisions if compiled else ():
        said = how if precision == first else f"{how}, {str(precision)[6:]}"
        yield _Candidate(f"{said}, compiled", _compiled(quick, count), precision)


def _folded(model: nn.Module) -> nn.Module:
    """The model with its batch norms folded, or itself where its forward cannot be traced."""
    from torch.fx.experimental.optimization import fuse  # takes half a second to import

    try:
        if isinstance(model, Classifier):
            return Classifier(model.preprocess, fuse(model.net), model.classes).eval()
        return fuse(model)
    except Exception:  # whatever a foreign forward raises under tracing
        return model


def _compiled(model: nn.Module, count: int) -> nn.Module:
    """Compiled for batches of `count`, its weights packed for the device once and for all."""
    frozen = {"freezing": True}
    made: nn.Module = torch.compile(copy.deepcopy(model), dynamic=False, options=frozen)  # type: ignore[assignment, arg-type]
    return InParts(made, count, padded=True)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return logits_of(model(images)).float()


def _same(found: Tensor, own: Tensor) -> bool:
    close = (found.softmax(1) - own.softmax(1)).abs() <= _SAME
    return found.shape == own.shape and bool(close.all())


def _timed(
    model: nn.Module, images: Tensor, precision: torch.dtype, hopeless: float = float("inf")
) -> tuple[Tensor, float]:
    """Probabilities, and the seconds of a pass after the first, which builds plans and caches.

    A first pass of more than `hopeless` seconds is not repeated, unless it compiled.
    """
    device = images.device.type
    took, compiled = 0.0, getattr(model, "padded", False)
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
