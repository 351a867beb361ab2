"""Sigmoids, tanhs or attentions driven to where they are flat.

## Why it matters
The gradient passes through the slope of the activation; at the ends of a sigmoid or in a one-hot
softmax it is nearly zero.

## What to do
Scale down what feeds it: initialize with variance 1 / fan_in, normalize the inputs, divide
attention scores by sqrt(d).

## When it is wrong
Gates (squeeze and excitation, GLU) are meant to close and are skipped, and so are trained nets. A
recurrent layer is judged by the most open of its gates: a forget gate may start nearly shut.

Evidence: measured: mean slopes on a batch of the program's own against their value at unit
variance.

Source: Glorot and Bengio 2010. Lecture: Activation Functions, sigmoid.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.operations import PRODUCTS, RESHAPES, SQUASHERS
from goodfit.check.probes.trace import Node, Trace, layer_name
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def is_gate(seen: Trace, node: Node) -> bool:
    """Whether the output scales something else, or is the model's output."""
    if node.index == seen.output:
        return True
    uses = seen.consumers(node.index)
    for _ in range(3):
        if uses and all(use.op in RESHAPES for use in uses):
            uses = [after for use in uses for after in seen.consumers(use.index)]
    return not uses or any(use.op in PRODUCTS for use in uses)


class SaturatedUnits(Rule):
    severity: ClassVar[Severity] = "warning"
    needs: ClassVar[tuple[type, ...]] = (Flow,)
    slope: Fraction = 0.25  # mean slope over that at inputs of unit variance
    error_below: Fraction = 0.02
    entropy: Fraction = 0.2  # of attention rows, over the logarithm of their length

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow = seen[Flow]
        traces = [flow.start] + ([flow.after] if flow.after is not None else [])
        if flow.trained:
            return
        known: set[str] = set()
        for number, one in enumerate(traces):
            for node in one.nodes:
                found = self.judge(one, node, number == 0)
                if found is not None and found.where not in known:
                    known.add(found.where)
                    yield found

    def judge(self, seen: Trace, node: Node, start: bool) -> Finding | None:
        source = seen.weighted_before(node.index)
        name = layer_name(source) if source is not None else node.module or "the model"
        if (
            node.op in SQUASHERS
            and node.stats is not None
            and node.op not in ("hardtanh", "hardsigmoid")
        ):
            slope = node.stats.slope
            if slope < self.slope * (1 if start else 0.3) and not is_gate(seen, node):
                severity: Severity = "error" if slope < self.error_below else "warning"
                severity = severity if start else "advice"
                return self.finding(
                    name,
                    severity=severity,
                    slope=f"{slope:.1%} of its usual value, {node.op}",
                    when="at the start" if start else "after some steps",
                    fix=f"nn.init.xavier_normal_(weight) with zero bias at {name}"
                    if start
                    else "lower the learning rate tenfold",
                )
        if start and float(node.options.get("open", 1.0)) < self.slope:
            slope = float(node.options["open"])
            return self.finding(
                layer_name(node),
                severity="error" if slope < self.error_below else "warning",
                slope=f"{slope:.1%} of its usual value in the most open gate, {node.op}",
                when="at the start",
                fix=f"initialize {layer_name(node)} with nn.init.xavier_uniform_ for the weights "
                f"of the input, nn.init.orthogonal_ for those of the states, and zero biases",
            )
        entropy = 1.0
        if (
            node.op == "softmax"
            and len(node.shape) > 2
            and node.stats is not None
            and node.shape[-1] > 2
        ):
            entropy = node.stats.entropy
        if node.op == "scaled_dot_product_attention":
            entropy = float(node.options.get("entropy", 1.0))
        if entropy < self.entropy and start:
            return self.finding(
                node.module or name,
                severity="error" if entropy < 0.03 else "warning",
                entropy=f"{entropy:.1%} of that of even attention, at the start",
                fix="divide the attention scores by sqrt(d), d the width of a head, before "
                "the softmax",
            )
        return None
