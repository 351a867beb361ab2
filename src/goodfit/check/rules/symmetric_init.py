"""All units of a layer start with the same weights.

## Why it matters
Equal units get equal gradients and stay equal: a layer of 512 acts like one unit.

## What to do
Draw weights at random: nn.init.kaiming_normal_(weight, nonlinearity="relu").

## When it is wrong
A zero head, or a zero last layer of a residual branch, is fine: its units part with the first
steps. The rule looks again after some real steps.

Evidence: exact: rows of weights are compared value by value, and in recurrent layers, where four
gates lie in one matrix, the states of the units.

Source: Goodfellow et al. 2016, "Deep Learning", 8.4. Lecture: Weight initialization.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.operations import RECURRENT
from goodfit.check.probes.trace import layer_name
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class SymmetricInit(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Flow, Gradients, Wiring)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow, grads = seen[Flow], seen[Gradients]
        heads = {layer.name for layer in flow.layers if layer.head}
        yield from self.of_states(flow)
        weighted = {node.params[0] for node in flow.start.affine() if node.op not in RECURRENT}
        for name, grad in grads.start.items():
            if name not in weighted or not grad.weight_rows_equal:
                continue
            owner, after = name.rpartition(".")[0], grads.after.get(name)
            constant = grad.weight > 0
            if owner in heads and not (constant and grad.rows_equal):
                continue
            still = after is not None and after.weight_rows_equal and (grad.rows_equal or grad.zero)
            if constant or still:
                yield self.finding(
                    owner or name,
                    weights=f"all {name} rows are equal" if constant else f"{name} is zero",
                    gradients="equal or zero for all units"
                    if grad.rows_equal or grad.zero
                    else "equal weights in every unit",
                    fix=f"draw them at random: nn.init.kaiming_normal_({name}, "
                    f'nonlinearity="relu")',
                    patch={"init": [{"kind": "kaiming"}]},
                )

    def of_states(self, flow: Flow) -> Iterator[Finding]:
        """Recurrent layers: their units are one where their states are."""
        after = (
            {n.module: n for n in flow.after.nodes if "twins" in n.options} if flow.after else {}
        )
        known: set[str] = set()
        for node in flow.start.nodes:
            name = layer_name(node)
            if not node.options.get("twins") or name in known:
                continue
            known.add(name)
            parted = node.module in after and not after[node.module].options["twins"]
            yield self.finding(
                name,
                severity="warning" if parted else "error",
                states="all units have the same states at every step",
                later="they part with the first steps" if parted else "they stay the same",
                fix=f"draw the weights at random: nn.init.xavier_uniform_ for those of the input, "
                f"nn.init.orthogonal_ for those of the states, at {name}",
            )
