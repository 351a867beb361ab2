"""A dropout right before the loss.

## Why it matters
Nothing is left to average over dropped scores: a dropped true score becomes zero, whatever the
net thought.

## What to do
Put the dropout before the last layer.

## When it is wrong
Hardly ever.

Evidence: exact: read from the graph of a forward pass.

Source: the graph: no weights between the dropout and the output.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.operations import ATTENTION, DROPOUTS
from goodfit.check.probes.trace import is_weighted
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class DropoutOnOutput(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        trace = seen[Flow].start
        if len(trace.nodes[trace.output].shape) != 2:
            return
        for node in trace.back(trace.output):
            if is_weighted(node) or node.op in ATTENTION:
                return
            if (
                node.op in DROPOUTS
                and node.options.get("training", True)
                and float(node.options.get("p", 0.5)) > 0
            ):
                yield self.finding(
                    node.module or "the output",
                    between="no weights between this dropout and the loss",
                    p=node.options.get("p"),
                    fix="move the dropout before the last layer",
                )
                return
