"""Gradients grow on the way back, or are huge at once.

## Why it matters
The first step throws the weights far away; the loss jumps or turns NaN.

## What to do
Initialize with the right gain, normalize inputs and layers, clip the gradient norm at 1.

## When it is wrong
Nets whose layers are normalized are invariant to the scale and can take large relative gradients;
the rule asks that training fails, too.

Evidence: measured: norms of this program's gradients on several batches, judged by orders of
magnitude.

Source: Pascanu et al. 2013, arXiv:1211.5063.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.rules.gradient_vanishing import in_order
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class GradientExploding(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow, Gradients, Training)
    ratio: Positive = 1e3  # of the first layers' gradient to the last's
    total: Positive = 1e3  # norm of the whole gradient

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow, grads, training = seen[Flow], seen[Gradients], seen[Training]
        start = in_order(flow, grads.start)
        if not start or flow.trained or (training.own.learns and training.own.progress > 0.3):
            return
        last = max(start[-1].rms, 1e-30)
        grown = max(start[0].rms / last, 0.0)
        if (len(start) > 2 and grown > self.ratio and grads.total > 10) or grads.total > self.total:
            worst = max(start, key=lambda g: g.rms * g.size**0.5)
            yield self.finding(
                worst.name.rpartition(".")[0] or worst.name,
                norm=f"{grads.total:.3g} in all",
                first_over_last=f"{grown:.2g}",
                fix="initialize with nn.init.kaiming_normal_ and clip: "
                "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
                patch={"train.clip_norm": 1.0},
            )
