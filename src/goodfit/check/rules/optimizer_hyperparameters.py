"""Settings of the optimizer that do not do what was meant.

## Why it matters
A momentum of 0.999 remembers a thousand steps and multiplies the learning rate by a thousand; an
eps above the gradients turns Adam into slow SGD; swapped betas forget the scale. Adagrad's lr_decay
divides the rate by 1 + steps * lr_decay.

## What to do
Momentum 0.9; betas (0.9, 0.999); eps 1e-8; lr_decay 0.

## When it is wrong
Large eps is used on purpose with a large learning rate in some recipes (RMSprop on Inception).

Evidence: exact: settings are read; eps is compared with this program's gradients.

Source: Sutskever et al. 2013; Kingma and Ba 2015, arXiv:1412.6980.
"""

from collections.abc import Iterator
from math import log1p
from statistics import median
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.training import Training
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive


class OptimizerHyperparameters(Rule):
    needs: ClassVar[tuple[type, ...]] = (Wiring,)
    also: ClassVar[tuple[type, ...]] = (Gradients, Training)
    horizon: Positive = 60.0  # steps 1 / (1 - momentum) that a momentum may remember
    swamped: Positive = 10.0  # eps over the median gradient
    decayed: Fraction = 0.04  # mean of a decaying rate over its start, in the first 400 steps

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        wiring, grads, training = seen[Wiring], seen.get(Gradients), seen.get(Training)
        sizes = (
            [g.rms for g in grads.start.values() if g.finite and g.rms > 0 and g.dims > 1]
            if grads is not None
            else []
        )
        learns = training is not None and training.own.learns and training.own.progress > 0.3
        for group in wiring.groups:
            where = (
                f"the optimizer, group {group.number}"
                if len(wiring.groups) > 1
                else "the optimizer"
            )
            s = group.settings
            betas = s.get("betas")
            momentum = float(betas[0] if betas else s.get("momentum") or 0.0)
            name, usual = ("betas", "(0.9, 0.999)") if betas else ("momentum", "0.9")
            severity: Severity = "error" if momentum >= 1 else "warning"
            if betas and float(betas[0]) > float(betas[1]):
                yield self.finding(
                    where,
                    betas=f"{betas}",
                    order="the first is larger",
                    fix=f"set betas={usual}",
                    patch={"optimizer.betas": [0.9, 0.999]},
                )
            elif betas and float(betas[1]) < 0.85 and wiring.optimizer not in ("Lion", "Muon"):
                yield self.finding(
                    where,
                    betas=f"{betas}",
                    second=f"remembers {1 / (1 - float(betas[1])):.0f} steps",
                    fix=f"set betas={usual}",
                    patch={"optimizer.betas": [0.9, 0.999]},
                )
            elif momentum >= 1 or 1 / (1 - momentum) > self.horizon:
                steps = "all" if momentum >= 1 else f"{1 / (1 - momentum):.0f}"
                yield self.finding(
                    where,
                    severity=severity,
                    memory=f"{name} {momentum:g} remembers {steps} steps",
                    fix=f"set {name}={usual}",
                    patch={f"optimizer.{name}": [0.9, 0.999] if betas else 0.9},
                )
            elif float(s.get("dampening") or 0.0) >= 0.95 and momentum > 0:
                yield self.finding(where, dampening=f"{s['dampening']}", fix="set dampening=0")
            decay = float(s.get("lr_decay") or 0.0) if wiring.optimizer == "Adagrad" else 0.0
            first = min(400, training.planned or 400) if training is not None else 400
            if decay > 0 and log1p(first * decay) / (first * decay) < self.decayed:
                yield self.finding(
                    where,
                    lr_decay=f"{decay:g}: the rate is divided by {1 + 10 * decay:.0f} after 10 "
                    f"steps and by {1 + first * decay:.0f} after {first}",
                    fix="set lr_decay=0: Adagrad slows down by itself",
                )
            alpha = s.get("alpha")
            if (
                wiring.optimizer == "RMSprop"
                and alpha is not None
                and (float(alpha) < 0.5 or float(alpha) >= 1)
            ):
                yield self.finding(where, alpha=f"{alpha}", fix="set alpha=0.99")
            eps = float(s.get("eps") or 0.0)
            if sizes and eps > self.swamped * median(sizes) and eps > 1e-4 and not learns:
                yield self.finding(
                    where,
                    eps=f"{eps:g}",
                    gradients=f"{median(sizes):.1e} in the median parameter",
                    fix="set eps=1e-8",
                    patch={"optimizer.eps": 1e-8},
                )
