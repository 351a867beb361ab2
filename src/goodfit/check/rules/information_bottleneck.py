"""A layer too narrow for what must pass through it.

## Why it matters
Ten classes cannot be told apart by one number per image, and a 3 x 3 kernel on a 1 x 1 map sees
nothing but padding.

## What to do
Widen the layer to at least the number of classes; pool after the features are learned. Where the
net reads little of its input, look for an average, an index or a slice before its first layer.

## When it is wrong
Side branches (squeeze and excitation) may be narrow; only layers that everything passes are judged.
A net that reads a part of its input on purpose is left alone when it learns well.

Evidence: exact: widths are read from the graph; what the net does not read is exchanged for that of
other samples, and its scores stay the same.

Source: the graph: nodes on all paths; the span of the scores' gradients with respect to the input.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.evaluation import Evaluation
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.trace import Trace, layer_name
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


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


def limit(classes: int) -> float:
    """Numbers that are too few to tell the classes apart."""
    return min(classes / 3, 10.0)


class InformationBottleneck(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow,)
    also: ClassVar[tuple[type, ...]] = (Evaluation, Training)
    unread: Fraction = 0.8  # share of the input's values that may change nothing
    least: Fraction = 0.1  # of the directions of the input that a curved net reads if it learns

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        narrow = list(self.layers(seen))
        yield from narrow or self.of_input(seen)

    def of_input(self, seen: Seen) -> Iterator[Finding]:
        """The net as a whole reads too little of its input, wherever that is lost."""
        flow, training, facts = seen[Flow], seen.get(Training), seen.get(Evaluation)
        own = training.own if training is not None else None
        if own is not None and own.learns and own.progress > 0.5:
            return
        if not flow.layers or (facts is not None and facts.leaks > 1e-3):
            return
        shape, found = flow.start.nodes[flow.start.output].shape, flow.reading
        least = limit(shape[1]) if len(shape) == 2 and shape[1] > 2 else 0.0
        if own is not None and not own.learns and facts is not None and facts.linear > 1e-3:
            least = max(least, self.least * found.varying)
        if found.numbers is not None and found.numbers <= min(least, 0.5 * found.varying):
            yield self.finding(
                flow.layers[0].name,
                reads=f"{found.numbers} of {found.varying} directions that the inputs vary in: the "
                f"rest can be exchanged and no score moves",
                fix="let the layers see the input before it is averaged or projected",
            )
        elif found.unread > self.unread:
            yield self.finding(
                flow.layers[0].name,
                unread=f"{found.unread:.0%} of the input's values: they can be exchanged for those "
                f"of other samples and no score moves",
                fix="look for an index or a slice such as x[:, :1] that was left in",
            )

    def layers(self, seen: Seen) -> Iterator[Finding]:
        """A layer that is too narrow."""
        trace = seen[Flow].start
        shape = trace.nodes[trace.output].shape
        if len(shape) != 2 or shape[1] < 3:
            return
        heads = {la.node for la in seen[Flow].layers if la.head}
        most = limit(shape[1])
        for node in trace.affine():
            into, weight = node.options.get("into", ()), node.options.get("weight", ())
            reads_few = node.index in heads and len(into) == 2 and into[1] <= most
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
            if width <= most and not avoidable(trace, node.index):
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
