"""The first loss is far above that of a net that knows nothing.

## Why it matters
A fresh net should give every class about the same score: cross-entropy ln C. A loss of three
times that means confident nonsense, which the first steps only unlearn.

## What to do
Shrink the last layer at the start (normal with standard deviation 0.01, zero bias).

## When it is wrong
Resumed and fine-tuned nets do not start from nothing; the rule skips them when they beat chance.

Evidence: measured: the loss of the untouched program on its own batch against that of equal scores,
judged by its ratio.

Source: Karpathy 2019, "A Recipe for Training Neural Networks". Lecture: Choosing
hyperparameters, step 1.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.trace import layer_name
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive


def last_weights(flow: Flow | None, wiring: Wiring | None) -> str:
    """The owner of the matrix that makes the scores, whatever operation it takes part in."""
    if flow is None:
        return ""
    heads = [la.name for la in flow.layers if la.head]
    matrices = {p.name for p in wiring.parameters if p.dims > 1} if wiring is not None else set()
    for node in flow.start.back(flow.start.output):
        if matrices & set(node.params):
            return layer_name(node) if layer_name(node) not in heads else heads[-1]
    return heads[-1] if heads else ""


class InitialLossOff(Rule):
    needs: ClassVar[tuple[type, ...]] = (LossFacts,)
    also: ClassVar[tuple[type, ...]] = (Flow, Wiring)
    most: Positive = 3.0  # times the loss of equal scores
    mention: Positive = 1.7

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts, flow = seen[LossFacts], seen.get(Flow)
        if not facts.constant > 0 or not facts.shift:
            return
        ratio = facts.start / facts.constant
        if facts.accuracy > 2.5 / max(2, facts.outputs) or not ratio > self.mention:
            return
        if flow is not None and flow.trained:
            return
        yield self.finding(
            last_weights(flow, seen.get(Wiring)) or "the last layer",
            severity="warning" if ratio > self.most else "advice",
            first_loss=f"{facts.start:.3g}",
            equal_scores=f"{facts.constant:.3g}",
            fix="shrink the last layer at the start: nn.init.normal_(weight, std=0.01); "
            "nn.init.zeros_(bias)",
        )
