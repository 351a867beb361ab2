"""Layers that follow each other with nothing nonlinear between.

## Why it matters
Two affine maps in a row are one affine map: the second layer adds parameters and no power.

## What to do
Put an activation between them.

## When it is wrong
Factorizations that save parameters (depthwise plus pointwise, linear bottlenecks, low rank) are
linear by design and skipped; so are models of one layer.

Evidence: exact: read from the graph; superposition holds to rounding.

Source: Goodfellow et al. 2016, 6.3; superposition f(a) + f(b) - f(0) = f(a + b) in evaluation.
"""

from collections.abc import Iterator
from math import prod
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.evaluation import Evaluation
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.operations import (
    AVERAGES,
    CURVES,
    DROPOUTS,
    RECTIFIERS,
    RESHAPES,
    SQUASHERS,
)
from goodfit.check.probes.trace import Node, Trace, is_weighted, layer_name
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction

LINEAR = RESHAPES | AVERAGES | DROPOUTS | {"batch_norm", "div", "__truediv__", "feature_dropout"}


def pairs(seen: Trace) -> Iterator[tuple[Node, Node]]:
    """Layers with only linear operations of a single path between them."""
    for node in seen.affine():
        if node.op not in ("linear", "conv1d", "conv2d", "conv3d", "addmm") or not node.inputs:
            continue
        index = node.inputs[0]
        while index >= 0:
            before = seen.nodes[index]
            if is_weighted(before):
                if projects(seen, before) or len(seen.consumers(index)) > 1:
                    break  # what it gives is used beside the second map, too
                if before.op in ("linear", "conv1d", "conv2d", "conv3d", "addmm"):
                    yield before, node
                break
            if before.op not in LINEAR or len(before.inputs) != 1 or len(seen.consumers(index)) > 1:
                break
            index = before.inputs[0]


def projects(seen: Trace, node: Node) -> bool:
    """Whether this is the linear projection after an inverted bottleneck or separable kernel."""
    weight = node.options.get("weight", ())
    if len(weight) < 3 or prod(weight[2:]) > 1:
        return False
    source = seen.weighted_before(node.inputs[0]) if node.inputs else None
    return bool(weight[0] < weight[1]) or (
        source is not None and int(source.options.get("groups", 1)) > 1
    )


def pointless(a: Node, b: Node) -> bool:
    """Whether the product of the two maps needs no more parameters than they have."""
    wa, wb = a.options.get("weight", ()), b.options.get("weight", ())
    if len(wa) < 2 or len(wb) < 2:
        return False
    if a.options.get("groups", 1) > 1 or b.options.get("groups", 1) > 1:
        return False
    if len(wa) > 2 and len(wb) > 2:
        if prod(wa[2:]) > 1 and prod(wb[2:]) > 1:
            return bool(min(wa[0], wa[1]) > 4 or wa[0] >= wa[1])
        return bool(
            wa[0] >= min(wa[1], wb[0])
            and wa[0] * wa[1] * prod(wa[2:]) + prod(wb)
            >= wa[1] * wb[0] * prod(wa[2:]) * prod(wb[2:])
        )
    inside = wa[0]
    return bool(inside >= min(wa[1] * (prod(wa[2:]) if len(wa) > 2 else 1), wb[0]))


def idle(seen: Trace) -> str:
    """The module of the first activation, in a net that is affine all the same."""
    curved = (n for n in seen.nodes if n.op in CURVES | RECTIFIERS | SQUASHERS and n.stats)
    return next((node.module for node in curved), "")


class NoNonlinearity(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow, Evaluation)
    also: ClassVar[tuple[type, ...]] = (Training,)
    most: Fraction = (
        0.3  # share of neighbouring layers without one, that a net that learns may have
    )

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow, facts = seen[Flow], seen[Evaluation]
        training = seen.get(Training)
        learns = training is not None and training.learns
        always = {(layer_name(a), layer_name(b)) for a, b in pairs(flow.quiet)}
        bare = [
            (a, b)
            for a, b in pairs(flow.start)
            if pointless(a, b) and (layer_name(a), layer_name(b)) in always
        ]
        few = len(bare) < self.most * (len(flow.start.affine()) - 1)
        for a, b in bare:
            yield self.finding(
                layer_name(a),
                severity="advice" if few and learns else "warning",
                between=f"{layer_name(a)} and {layer_name(b)}: only linear operations",
                fix=f"put an activation between {layer_name(a)} and {layer_name(b)}: "
                f"torch.relu(...)",
            )
        layers = flow.start.affine()
        if not bare and len(layers) > 1 and facts.linear < 1e-5:
            yield self.finding(
                idle(flow.start) or layer_name(layers[0]),
                superposition=f"f(a) + f(b) - f(0) - f(a + b) is {facts.linear:.0e} of f: the "
                f"whole model is affine",
                layers=len(layers),
                fix="put an activation (torch.relu) after every layer but the last",
            )
