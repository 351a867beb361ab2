"""NaN or infinity in the loss or in a gradient.

## Why it matters
The next step writes it into all weights, and the run is over.

## What to do
Guard the operation named here: log(x.clamp_min(1e-8)), sqrt(x + 1e-8), x / (y + 1e-8); use
log_softmax and the losses on logits instead of log(softmax).

## When it is wrong
It is exact. When only a high learning rate leads there, that finding is reported instead.

Evidence: exact: every value of every gradient is looked at.

Source: torch's anomaly mode.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class GradientNonfinite(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (DryRun, Gradients)
    also: ClassVar[tuple[type, ...]] = (Training,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        dry, grads, training = seen[DryRun], seen[Gradients], seen.get(Training)
        fix = (
            "guard it: log(x.clamp_min(1e-8)), sqrt(x + 1e-8), x / (y + 1e-8), or take the "
            "loss on logits"
        )
        bad = [g for g in grads.start.values() if not g.finite]
        if dry.nonfinite:
            yield self.finding(
                dry.nonfinite,
                output="NaN or infinity from finite inputs",
                loss=f"{dry.loss:.3g}",
                fix=fix,
            )
        elif dry.loss != dry.loss or abs(dry.loss) == float("inf"):
            yield self.finding("the loss", loss=f"{dry.loss}", scores="finite", fix=fix)
        elif bad:
            where = bad[-1].name.rpartition(".")[0] or bad[-1].name
            yield self.finding(
                where,
                gradients=f"{len(bad)} of {len(grads.start)} are not finite",
                origin=grads.origin or "not found",
                fix=fix,
            )
        elif training is not None and not training.own.finite:
            calm = [run for run in training.others if run.factor is not None and run.factor < 1]
            if calm and not any(run.finite for run in calm):
                step = len(training.own.losses)
                yield self.finding(
                    f"step {step}",
                    loss="not finite, also at a tenth and a hundredth of the learning rate",
                    fix=fix,
                )
