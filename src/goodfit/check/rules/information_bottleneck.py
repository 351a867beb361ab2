"""A layer too narrow for what must pass through it.

## Why it matters
Ten classes cannot be told apart by one number per image, and a 3 x 3 kernel on a 1 x 1 map sees
nothing but padding.

## What to do
Widen the layer to at least the number of classes; pool after the features are learned.

## When it is wrong
Side branches (squeeze and excitation) may be narrow; only layers that everything passes are judged.

Evidence: exact: widths are read from the graph.

Source: the graph: nodes on all paths.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.trace import Trace, layer_name
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


def avoidable(seen: Trace, index: int) -> bool:
    """Whether the output can be reached from the input without this operation."""
    waiting, known = [seen.output], {index}
    while waiting:
        node = waiting.pop()
        if node in known:
            continue
        if node < 0:
            return True
        known.add(node)
        waiting += seen.nodes[node].inputs or (-1,)
    return False


class InformationBottleneck(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        trace = seen[Flow].start
        shape = trace.nodes[trace.output].shape
        if len(shape) != 2 or shape[1] < 3:
            return
        heads = {la.node for la in seen[Flow].layers if la.head}
        limit = min(shape[1] / 3, 10.0)
        for node in trace.affine():
            into, weight = node.options.get("into", ()), node.options.get("weight", ())
            reads_few = node.index in heads and len(into) == 2 and into[1] <= limit
            if reads_few and trace.weighted_before(node.inputs[0]) is not None:
                yield self.finding(
                    layer_name(node),
                    reads=f"{into[1]} values for {shape[1]} classes",
                    fix=f"give the layer before it at least {max(16, shape[1])} outputs",
                )
                return
            if node.index in heads or len(node.shape) < 2:
                continue
            width = node.shape[1] * (node.shape[2] * node.shape[3] if len(node.shape) == 4 else 1)
            if len(node.shape) == 3:
                width = node.shape[1] * node.shape[2]
            if width <= limit and not avoidable(trace, node.index):
                yield self.finding(
                    layer_name(node),
                    width=f"{width} values for {shape[1]} classes",
                    fix=f"give it at least {max(16, shape[1])} outputs",
                )
                return
            if (
                len(into) == 4
                and len(weight) == 4
                and into[2] * into[3] == 1
                and min(weight[2:]) > 1
                and not avoidable(trace, node.index)
            ):
                yield self.finding(
                    layer_name(node),
                    map=f"a {weight[2]} x {weight[3]} kernel on a 1 x 1 map",
                    fix="pool or stride less before it, so that the map is larger than the kernel",
                )
                return
