"""Evaluation: the same twice, each sample by itself, and random modules against their average."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work

STEADY = {kind.forward for kind in (nn.Linear, nn.ReLU, nn.Conv2d, _BatchNorm, nn.LayerNorm)}


@dataclass(frozen=True)
class Expectation:
    """One module that is random in training, on its own input.

    scale: least-squares factor from the evaluation output to the training average.
    bias: rms of their difference over the rms of the noise. z: largest standard error.
    plain: it has no parameters and no modules inside, so the average must be exact.
    """

    name: str
    kind: str
    scale: float
    bias: float
    z: float
    plain: bool
    draws: int
    preserves: bool = False  # mean and variance over units and draws (alpha dropout)
    relative: float = 0.0  # rms of the difference over rms of the evaluation output


@dataclass(frozen=True)
class Evaluation:
    """What evaluation mode does."""

    differs: float = 0.0  # between two passes, relative
    random_at: str = ""  # the first module that draws in evaluation
    leaks: float = 0.0  # change of a sample's scores when the others change, relative
    leaks_at: str = ""
    expectations: tuple[Expectation, ...] = ()
    linear: float = math.nan  # relative |f(a) + f(b) - f(0) - f(a + b)|
    spread: float = math.nan  # between samples over rms, of the scores
    by_design: bool = False


def evaluation(work: Work) -> Evaluation:
    """Play with a clone in evaluation mode."""
    clone = work.program.clone()
    x, _ = work.small(32)
    clone.model.eval()
    with torch.no_grad():
        differs, at = _twice(clone, x)
        leaks, leak_at = (0.0, "") if differs > 1e-4 else _leaks(clone, x)
        expectations = tuple(_expectations(work, clone, x))
        linear = _linear(work, x)
        scores = clone.scores(x).float()
        spread = float(scores.std(0).mean() / scores.square().mean().sqrt().clamp_min(1e-12))
    return Evaluation(differs, at, leaks, leak_at, expectations, linear, spread)


def _distance(a: Tensor, b: Tensor) -> float:
    a, b = a.float(), b.float()
    return (
        float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
        if a.shape == b.shape
        else math.inf
    )


def _twice(clone: Clone, x: Any) -> tuple[float, str]:
    clone.model.eval()
    reseed(1)
    first, inputs, outputs = _recorded(clone, x)
    reseed(2)
    again, inputs2, outputs2 = _recorded(clone, x)
    differs = _distance(first, again)
    if differs <= 1e-4:
        return differs, ""
    guilty = [
        name
        for name in outputs
        if name in outputs2
        and _distance(outputs[name], outputs2[name]) > 1e-4
        and name in inputs
        and name in inputs2
        and _distance(inputs[name], inputs2[name]) <= 1e-6
    ]
    innermost = [
        n for n in guilty if not any(o != n and o.startswith(n + ".") for o in guilty if n)
    ]
    innermost = [n for n in innermost if n] or guilty
    return differs, (innermost[0] if innermost else "") or "the model"


def _recorded(clone: Clone, x: Any) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Scores, and the first input and output of every module."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, out: Any) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            if name not in outputs and isinstance(out, Tensor):
                outputs[name] = out.detach().clone()

        return hook

    def before(name: str) -> Any:
        def hook(_: nn.Module, given: Any) -> None:
            if name not in inputs and given and isinstance(given[0], Tensor):
                inputs[name] = given[0].detach().clone()

        return hook

    handles = []
    for name, module in clone.model.named_modules():
        handles += [
            module.register_forward_pre_hook(before(name)),
            module.register_forward_hook(keep(name)),
        ]
    try:
        scores = clone.scores(x).detach().clone()
    finally:
        for handle in handles:
            handle.remove()
    return scores, inputs, outputs


def _leaks(clone: Clone, x: Any) -> tuple[float, str]:
    """Keep one sample, replace all the others: its scores must stay.

    The first and the last are kept in turn: a net that reads on from sample to sample, as a
    recurrent layer does without batch_first, shows the first nothing of the others.
    """
    if not isinstance(x, Tensor) or len(x) < 3:
        return 0.0, ""
    others = x.roll(1, 0).flip(0)
    far = others * 1.7 + 0.3 * x.float().std().to(x.dtype) if x.is_floating_point() else others
    found = (0.0, "")
    for kept in (0, len(x) - 1):
        try:
            now = _leak(clone, x, far, kept)
        except (IndexError, ValueError):  # numbers of kinds in a table must stay what they are
            now = _leak(clone, x, others, kept)
        found = max(found, now)
        if found[1]:
            break
    return found


def _leak(clone: Clone, x: Tensor, others: Tensor, kept: int) -> tuple[float, str]:
    """How far the scores of one sample move when the others are replaced, and where first."""
    other = others.clone()
    other[kept] = x[kept]
    reseed(1)
    first, _, outputs = _recorded(clone, x)
    reseed(1)
    again, _, outputs2 = _recorded(clone, other)
    scale = first.abs().max().clamp_min(1e-12)
    change = float((first[kept] - again[kept]).abs().max() / scale)
    if change <= 1e-4:
        return change, ""
    for name, out in outputs.items():
        now = outputs2.get(name)
        if now is None or now.shape != out.shape or len(out) != len(x) or not name:
            continue
        if float((out[kept] - now[kept]).abs().max()) > 1e-4 * float(out.abs().max()):
            return change, name
    return change, "the model"


def _expectations(work: Work, clone: Clone, x: Any) -> Iterator[Expectation]:
    """Each innermost module that is random in training, averaged over draws on its own input."""
    clone.model.train()
    inputs: dict[str, tuple[Any, ...]] = {}
    handles = []

    def keep(name: str) -> Any:
        def hook(_: nn.Module, given: Any) -> None:
            if name not in inputs and given and all(isinstance(g, Tensor) for g in given):
                inputs[name] = tuple(g.detach().clone() for g in given)

        return hook

    modules = dict(clone.model.named_modules())
    for name, module in modules.items():
        handles.append(module.register_forward_pre_hook(keep(name)))
    try:
        reseed(3)
        clone.forward(x)
    finally:
        for handle in handles:
            handle.remove()
    fresh = work.program.clone()
    modules = dict(fresh.model.named_modules())
    random_ones: list[str] = []
    for name in sorted(inputs, key=lambda n: -n.count(".") - bool(n)):
        if any(inner.startswith(name + ".") or not name for inner in random_ones):
            continue
        if not _draws(modules[name], inputs[name]):
            continue
        random_ones.append(name)
        found = _averaged(name, modules[name], inputs[name], work)
        if found is not None:
            yield found


def _draws(module: nn.Module, given: tuple[Any, ...]) -> bool:
    """Whether the module's training output is random.

    One that differs with the same seed follows a state of its own, such as a moving range.
    A subclass of a layer may be: one that drops weights is a layer with a forward of its own.
    """
    if type(module).forward in STEADY:
        return False
    try:
        results = []
        for seed in (11, 12, 13, 11):
            module.train()
            reseed(seed)
            results.append(_fresh(module, given))
    except Exception:
        return False
    first, *others, again = results
    if not isinstance(first, Tensor) or _distance(first, again) > 1e-5:
        return False
    return any(_distance(first, other) > 1e-5 for other in others)


def _fresh(module: nn.Module, given: tuple[Any, ...]) -> Any:
    """The module's output for copies of its inputs: it may work in place."""
    return module(*(tensor.clone() for tensor in given))


def _averaged(
    name: str, module: nn.Module, given: tuple[Any, ...], work: Work
) -> Expectation | None:
    plain = not list(module.children()) and not any(True for _ in module.parameters())
    module.train()
    modes = {m: m.training for m in module.modules()}
    for m in module.modules():
        if isinstance(m, _BatchNorm):
            m.momentum = 0.0  # statistics stay
    module.eval()
    reseed(4)
    expected = _fresh(module, given)
    if not isinstance(expected, Tensor) or not expected.is_floating_point():
        return None
    for m, mode in modes.items():
        m.training = mode and not isinstance(m, _BatchNorm)
    draws = 400 if plain and expected.numel() < 300_000 else 100
    total, square, count = torch.zeros_like(expected), torch.zeros_like(expected), 0
    for seed in range(draws):
        if work.left() < 2 and seed >= 40:
            break
        reseed(100 + seed)
        out = _fresh(module, given)
        if out.shape != expected.shape:
            return None
        total += out
        square += out * out
        count += 1
    mean = total / count
    var = (square / count - mean**2).clamp_min(0) * count / max(1, count - 1)
    noise = var.mean().sqrt()
    gap = mean - expected
    flat, base = mean.flatten().double(), expected.flatten().double()
    scale = float(flat @ base / (base @ base).clamp_min(1e-30))
    error = float(
        (base.square() @ var.flatten().double()).sqrt()
        / (base @ base).clamp_min(1e-30)
        / count**0.5
    )
    z = abs(scale - 1) / max(error, 1e-9)
    unbiased = (gap.square() - var / count).mean().clamp_min(0).sqrt()
    whole = float(square.mean() / count - (total.mean() / count) ** 2)
    wanted = float(expected.var(correction=0))
    preserves = (
        abs(float(gap.mean())) < 0.1 * wanted**0.5 and 0.88 < whole / max(wanted, 1e-20) < 1.12
    )
    return Expectation(
        name or "the model",
        type(module).__name__,
        scale,
        float(unbiased / noise.clamp_min(1e-20)),
        z,
        plain,
        count,
        preserves,
        float(unbiased / expected.square().mean().sqrt().clamp_min(1e-20)),
    )


def _linear(work: Work, x: Any) -> float:
    """How far the model is from an affine map, in evaluation."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) < 4:
        return math.nan
    clone = work.program.clone()
    clone.model.eval()
    size = x.float().square().mean().sqrt().clamp_min(1e-6).to(x.dtype)
    reseed(7)
    a, b = torch.randn_like(x) * size, torch.randn_like(x) * size
    reseed(1)
    try:
        fa, fb, f0, fab = (clone.scores(v).double() for v in (a, b, torch.zeros_like(a), a + b))
    except (IndexError, ValueError):  # not every number is an input: kinds have numbers, too
        return math.nan
    scale = (fa - f0).abs().max() + (fb - f0).abs().max()
    return float((fa + fb - f0 - fab).abs().max() / scale) if float(scale) > 1e-12 else math.nan
