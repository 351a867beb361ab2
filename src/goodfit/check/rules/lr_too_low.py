"""The learning rate is too low for the loss to move.

## Why it matters
The run ends before it has begun.

## What to do
Raise the learning rate to the one named here, the best of the tried ones, or use the schedule's
peak as the base.

## When it is wrong
Fine-tuning wants small steps: a model that already beats chance is skipped, and so is one whose
gradients promise enough over the number of steps it will run.

Evidence: measured: an experiment, the same images and noise at several learning rates, under a
fixed seed.

Source: experiment: short trainings at 10, 100 and 1000 times the learning rate.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.training import Training
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.rules.lr_too_high import shown
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction


class LrTooLow(Rule):
    needs: ClassVar[tuple[type, ...]] = (Training, LossFacts)
    also: ClassVar[tuple[type, ...]] = (Flow, Wiring)
    steps: Count = 400  # updates of a run whose length is not known
    enough: Fraction = 0.1  # of the loss, that the gradients must promise over the run
    decayed: Fraction = 0.04  # mean of the schedule over its peak
    better: Fraction = 0.1  # progress that a faster run must make

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found, facts, flow, wiring = (
            seen[Training],
            seen[LossFacts],
            seen.get(Flow),
            seen.get(Wiring),
        )
        own = found.own
        if found.mean_factor < self.decayed:
            yield self.finding(
                "the schedule",
                mean_factor=f"{found.mean_factor:.2%} of the peak over the run: it decays at once",
                fix="let the schedule span the whole run: cosine from 1 to 0 over all steps",
                patch={"schedule.kind": "cosine"},
            )
            return
        if (
            own.factor is None
            or own.broke
            or not own.finite
            or own.progress > 0.05
            or own.gained > 4
        ):
            return
        if facts.accuracy > 2.5 / max(2, facts.outputs) or (flow is not None and flow.trained):
            return
        if found.peak == 0.0:
            if wiring is not None and not any("initial_lr" in g.settings for g in wiring.groups):
                yield self.finding(
                    "the optimizer",
                    lr="0 in every group",
                    fix="give the optimizer a positive learning rate: 1e-3 for Adam, 0.1 for "
                    "SGD with momentum",
                    patch={"optimizer.lr": 1e-3},
                )
            return
        faster = sorted(
            (r for r in found.others if r.factor is not None and r.factor > 1 and r.finite),
            key=lambda r: r.factor or 0,
        )
        good = [
            r
            for r in faster
            if r.progress > self.better and r.progress > 4 * max(own.progress, 0.002)
        ]
        if not own.losses:
            return
        steps = found.planned or self.steps
        promise = sum(own.predicted) / len(own.predicted) * steps if own.predicted else 0.0
        level = abs(own.start) or 1.0
        if promise > self.enough * level and own.progress > 0.003:
            return
        if not good:
            other = found.reference
            sure = other is not None and other.progress > self.better
            if other is not None and sure and own.progress < 0.01 and promise < 0.02 * level:
                yield self.finding(
                    "the optimizer",
                    loss=shown(own) + f" at {found.peak:.3g}",
                    reference=shown(other) + " with Adam at 0.001",
                    promise=f"{max(promise, 0) / level:.2%} of the loss over {steps} steps",
                    fix=f"set the learning rate to {found.peak * 100:.3g}; if gradients are "
                    "clipped, clip their norm at 1 instead",
                    patch={"optimizer.lr": float(f"{found.peak * 100:.3g}")},
                )
            return
        lr = found.peak * (good[0].factor or 10)
        yield self.finding(
            "the optimizer",
            loss=shown(own) + f" at {found.peak:.3g}",
            faster=shown(good[0]) + f" at {lr:.3g}",
            promise=f"{max(promise, 0) / level:.1%} of the loss over {steps} steps",
            fix=f"set the learning rate to {lr:.3g}",
            patch={"optimizer.lr": float(f"{lr:.3g}")},
        )
