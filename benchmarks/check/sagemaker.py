"""The built-in rules of SageMaker Debugger with their default thresholds, on 60 steps of training.

The service is closed; these are the documented rules (AWS, "List of Debugger built-in rules"):

    NotNormalizedData       |mean| of the input > 0.2 over 500 images
    ClassImbalance          largest over smallest class > 10 over 500 labels
    PoorWeightInitialization variance ratio between layers > 10, or gradients within 1e-3
    DeadRelu                a ReLU's units active < 1% of the time, for > 50% of the layer
    Tanh, SigmoidSaturation inputs beyond +-9.5, or -23 and 17, for > 50% of a layer
    VanishingGradient       mean |gradient| < 1e-7
    ExplodingTensor         anything not finite
    WeightUpdateRatio       update over weight > 10 or < 1e-8
    LossNotDecreasing       less than 0.1% in 10 steps
    UnchangedTensor         a weight equal to itself within 1e-5 over 3 looks
    AllZero                 a gradient or an output all zero
    Overfit                 (validation - training loss) / training loss > 0.1

Tensors are looked at every ten steps.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import chain, islice, pairwise, repeat
from typing import Any

import torch
from benchmarks.check.alarm import Alarm
from benchmarks.check.program import Pieces
from torch import Tensor, nn

STEPS, EVERY = 60, 10
MEANING = {
    "NotNormalizedData": {"input-scale"},
    "ClassImbalance": {"class-imbalance", "class-missing"},
    "PoorWeightInitialization": {"symmetric-init", "signal-vanishing", "signal-exploding"},
    "DeadRelu": {"dead-units"},
    "Saturation": {"saturated-units"},
    "VanishingGradient": {"gradient-vanishing", "no-gradient"},
    "ExplodingTensor": {"input-nonfinite", "gradient-nonfinite", "gradient-exploding"},
    "WeightUpdateRatioHigh": {"lr-too-high"},
    "WeightUpdateRatioLow": {"lr-too-low"},
    "LossNotDecreasing": {"cannot-overfit-batch"},
    "UnchangedTensor": {"params-not-optimized", "frozen-params", "unused-parameters"},
    "AllZero": {"no-gradient", "dead-units", "constant-output"},
    "Overfit": {"overfitting"},
}


class Debugger:
    """Collects alarms from hooks, gradients and weights, each once per place."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces, self.looking = pieces, False
        self.alarms: dict[tuple[str, str], Alarm] = {}
        self.losses: list[float] = []
        self.past: dict[str, Tensor] = {}
        self.same: dict[str, int] = {}
        for name, module in pieces.model.named_modules():
            if not list(module.children()):
                module.register_forward_hook(self.watching(name))

    def say(self, rule: str, where: str, *, of: bool) -> None:
        if of:
            self.alarms.setdefault((rule, where), Alarm(frozenset(MEANING[rule]), where, rule))

    def watching(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self.looking or not isinstance(output, Tensor):
                return
            out = output.detach()
            self.say("ExplodingTensor", name, of=not bool(out.isfinite().all()))
            self.say("AllZero", name, of=bool((out == 0).all()))
            if isinstance(module, nn.ReLU) and out.ndim > 1:
                active = (out > 0).float().mean([d for d in range(out.ndim) if d != 1])
                self.say("DeadRelu", name, of=(active < 0.01).float().mean().item() > 0.5)
            if isinstance(module, nn.Tanh | nn.Sigmoid):
                low, high = (-9.5, 9.5) if isinstance(module, nn.Tanh) else (-23.0, 17.0)
                beyond = (inputs[0] < low) | (inputs[0] > high)
                self.say("Saturation", name, of=beyond.float().mean().item() > 0.5)

        return look

    def data(self) -> None:
        xs, ys, seen = [], [], 0
        for x, y, *_ in self.pieces.train:
            xs.append(x.float())
            ys.append(y if y.ndim == 1 else y.argmax(1))
            seen += len(x)
            if seen >= 500:
                break
        mean = torch.cat(xs).mean().item()
        self.say("NotNormalizedData", "train", of=not abs(mean) <= 0.2)
        counts = torch.cat(ys).clamp_min(0).bincount()
        counts = counts[counts > 0]
        self.say("ClassImbalance", "train", of=bool(counts.max() > 10 * counts.min()))

    def weights(self) -> None:
        named = self.pieces.model.named_parameters()
        spread = [p.detach().var().item() for _, p in named if p.ndim > 1]
        low, high = min(spread, default=1.0), max(spread, default=1.0)
        self.say("PoorWeightInitialization", "model", of=high > 10 * low)

    def gradients(self, first: bool) -> None:
        for name, p in self.pieces.model.named_parameters():
            if p.grad is None:
                continue
            g = p.grad
            self.say("ExplodingTensor", name, of=not bool(g.isfinite().all()))
            self.say("AllZero", name, of=bool((g == 0).all()))
            self.say("VanishingGradient", name, of=g.abs().mean().item() < 1e-7)
            if first and p.ndim > 1:
                low, high = g.flatten()[:100_000].quantile(torch.tensor([0.05, 0.95])).tolist()
                self.say("PoorWeightInitialization", name, of=high - low < 1e-3)

    def updates(self, before: dict[str, Tensor]) -> None:
        for name, p in self.pieces.model.named_parameters():
            now, old = p.detach(), before[name]
            if p.ndim > 1:  # biases are another collection of the service's
                ratio = ((now - old).norm() / (old.norm() + 1e-9)).item()
                self.say("WeightUpdateRatioHigh", name, of=ratio > 10)
                self.say("WeightUpdateRatioLow", name, of=ratio < 1e-8)
            past = self.past.get(name)
            same = past is not None and torch.allclose(now, past, rtol=1e-5, atol=1e-8)
            self.same[name] = self.same.get(name, 0) + 1 if same else 0
            self.say("UnchangedTensor", name, of=self.same[name] >= 2)
            self.past[name] = now.clone()

    def run(self) -> None:
        pieces = self.pieces
        pieces.model.train()
        peaks = [group["lr"] for group in pieces.optimizer.param_groups]
        steps = min(STEPS, pieces.steps)
        for i, (x, y, *_) in enumerate(islice(chain.from_iterable(repeat(pieces.train)), steps)):
            self.looking = i % EVERY == 0
            if pieces.schedule:
                for group, peak in zip(pieces.optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * pieces.schedule(i / pieces.steps)
            pieces.optimizer.zero_grad()
            loss = pieces.loss(pieces.model(x), y)
            loss.backward()
            self.losses.append(loss.item())
            self.say("ExplodingTensor", "loss", of=not bool(loss.isfinite()))
            if not self.looking:
                pieces.optimizer.step()
                continue
            self.gradients(first=i == 0)
            before = {n: p.detach().clone() for n, p in pieces.model.named_parameters()}
            pieces.optimizer.step()
            self.updates(before)
        self.looking = False
        self.curves()

    @torch.no_grad()
    def curves(self) -> None:
        tenths = self.losses[::EVERY]
        falls = (a - b > 0.001 * abs(a) for a, b in pairwise(tenths))
        self.say("LossNotDecreasing", "loss", of=not all(falls))
        if self.pieces.val is None:
            return
        self.pieces.model.eval()
        values = []
        for x, y, *_ in self.pieces.val:
            values.append(self.pieces.loss(self.pieces.model(x), y).item())
        ours = sum(self.losses[-EVERY:]) / len(self.losses[-EVERY:])
        theirs = sum(values) / len(values)
        self.say("Overfit", "val", of=(theirs - ours) / max(abs(ours), 1e-12) > 0.1)


def diagnose(pieces: Pieces) -> list[Alarm]:
    debugger = Debugger(pieces)
    debugger.data()
    debugger.weights()
    with suppress(RuntimeError, IndexError, ValueError):  # what was seen before it raised stands
        debugger.run()
    return list(debugger.alarms.values())
