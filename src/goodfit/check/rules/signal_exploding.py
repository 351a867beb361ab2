"""Signals grow from layer to layer.

## Why it matters
Outputs of a thousand make a first loss of a thousand, saturate every squashing function and
ask for a learning rate that is useless later.

## What to do
Initialize with variance gain^2 / fan_in; scale or zero the last layer of residual branches
without normalization.

## When it is wrong
A normalization after the layer makes its scale irrelevant; such layers are skipped.

Evidence: measured: spread between samples, layer by layer, judged by orders of magnitude.

Source: He et al. 2015, arXiv:1502.01852; Zhang et al. 2019, "Fixup", arXiv:1901.09321.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.rules import Rule
from goodfit.check.rules.signal_vanishing import RECURRENT_FIX, chain, recurrent
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


class SignalExploding(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow, LossFacts)
    most: Positive = 50.0  # spread anywhere over the spread of the inputs
    error_above: Positive = 1e4
    strong: Positive = 4.0  # gain of one layer

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow = seen[Flow]
        layers = chain(flow)
        if not layers or flow.trained:
            return
        first = layers[0]
        scale = max(first.spread_in, 1e-30)
        free = [la for la in layers if not la.normed]
        if not free:
            return
        peak = max(free, key=lambda la: la.spread_out)
        grown = peak.spread_out / scale
        worst = max(free, key=lambda la: la.gain)
        if grown > self.most and peak.spread_out > 20 and scale > 1e-3:
            steps = recurrent(flow, worst)
            weights = (
                "the states' multiply at every step"
                if steps
                else f"standard deviation {worst.weight_std:.2g}, He's is "
                f"{(2 / worst.fan_in) ** 0.5:.2g}"
            )
            yield self.finding(
                worst.name,
                severity="error" if grown > self.error_above else "warning",
                spread=f"{peak.spread_out:.3g} between samples at {peak.name}, "
                f"{first.spread_in:.2g} at the input",
                gain=f"{worst.gain:.2g} here, the largest of {len(layers)} layers",
                weights=weights,
                fix=f"{RECURRENT_FIX}, at {worst.name}"
                if steps
                else f'nn.init.kaiming_normal_(weight, nonlinearity="relu") at {worst.name}, '
                f"and zero the last layer of residual branches",
                patch={} if steps else {"init": [{"kind": "kaiming"}]},
            )
