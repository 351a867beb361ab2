"""The differences between samples fade from layer to layer.

## Why it matters
When the last layer sees nearly the same for every input, it can only learn the class shares, and
gradients fade on the way back alike.

## What to do
Initialize for the activation: He's gain sqrt(2) for ReLU, LeCun's 1 for SELU and tanh; or add
normalization.

## When it is wrong
Fine-tuned nets and zero-initialized heads or branches; the rule skips them.

Evidence: measured: spread between samples, layer by layer, judged by orders of magnitude.

Source: He et al. 2015, arXiv:1502.01852. Lecture: Weight initialization.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow, Layer
from goodfit.check.probes.operations import RECURRENT
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive

FIX = (
    'nn.init.kaiming_normal_(weight, nonlinearity="relu") before a ReLU, '
    'nonlinearity="linear" (gain 1) before tanh or SELU'
)
RECURRENT_FIX = (
    "nn.init.orthogonal_ for the weights of the states (times one: they multiply at every step), "
    "nn.init.xavier_uniform_ for those of the input, and biases that leave the gates half open"
)


def recurrent(flow: Flow, layer: Layer) -> bool:
    """Whether the layer goes through its input step by step."""
    return flow.start.nodes[layer.node].op in RECURRENT


def chain(flow: Flow) -> list[Layer]:
    """Layers on the way, from the first to the head."""
    return [layer for layer in flow.layers if layer.spread_in > 0 or layer.depth > 0]


class SignalVanishing(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow, Training)
    least: Positive = 1e-3  # spread at the last layer over the spread of the inputs
    error_below: Positive = 1e-5
    weak: Positive = 0.12  # gain of one layer that starves what follows

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow, training = seen[Flow], seen[Training]
        layers = chain(flow)
        if len(layers) < 2 or flow.trained:
            return
        first, last = layers[0], layers[-1]
        scale = max(first.spread_in, 1e-30)
        kept = last.spread_in / scale
        hidden = [la for la in layers if not la.head and not la.normed and not la.zero]
        if not hidden:
            return
        worst = min(hidden, key=lambda la: la.gain)
        if worst.gain < 1e-6 or last.spread_in == 0:
            return  # nothing passes at all: a cut or a zero, which other rules name
        learns = training.own.learns and training.own.progress > 0.25
        if kept < self.least and worst.gain < 0.75 and not learns:
            yield self.finding(
                worst.name,
                severity="error" if kept < self.error_below else "warning",
                spread=f"{last.spread_in:.2g} between samples at {last.name}, "
                f"{first.spread_in:.2g} at the input",
                gain=f"{worst.gain:.2g} here, the least of {len(layers)} layers",
                fix=RECURRENT_FIX if recurrent(flow, worst) else FIX,
                patch={"init": [{"kind": "kaiming"}]},
            )
            return
        expected = 1 / max(1, worst.fan_in) ** 0.5
        tiny = worst.weight_std < self.weak * expected and worst.gain < self.weak
        if tiny and kept < 0.1 and not learns:
            yield self.finding(
                worst.name,
                gain=f"{worst.gain:.2g} from input to output",
                weights=f"standard deviation {worst.weight_std:.2g}, He's is "
                f"{1.414 * expected:.2g}",
                fix=FIX,
                patch={"init": [{"kind": "kaiming"}]},
            )
