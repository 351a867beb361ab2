"""A dropout that drops nearly everything.

## Why it matters
The noise-to-signal ratio of a sum over `width` inputs is p / (1 - p) / width: at p = 0.9, or with
few units, little of the signal arrives.

## What to do
Use 0.5 in wide fully connected layers, 0.1 to 0.3 elsewhere. torch's p is the share dropped, not
the share kept.

## When it is wrong
Very wide layers can bear more; then the net learns and this is only advice.

Evidence: exact: the rate and the width are read from the graph.

Source: Srivastava et al. 2014, JMLR 15. Lecture: Regularization, Dropout.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.operations import DROPOUTS
from goodfit.check.probes.trace import is_weighted
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive


class DropoutRate(Rule):
    needs: ClassVar[tuple[type, ...]] = (Flow,)
    also: ClassVar[tuple[type, ...]] = (Training,)
    most: Fraction = 0.85
    on_input: Fraction = 0.5
    noise: Positive = 0.3  # noise over signal after the next layer

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        trace = seen[Flow].start
        training = seen.get(Training)
        bears = training is not None and training.own.learns and training.own.progress > 0.3
        known: set[str] = set()
        for node in trace.nodes:
            if node.op not in DROPOUTS or not node.options.get("training", True):
                continue
            p = float(node.options.get("p", 0.5))
            where = node.module or "the model"
            if p == 0 or where in known:
                continue
            width = node.shape[1] if len(node.shape) in (2, 4) else node.shape[-1]
            noise = p / (1 - p) / max(1, width) if p < 1 else float("inf")
            first = not any(is_weighted(before) for before in trace.back(node.index))
            if p > self.most or noise > self.noise or (first and p > self.on_input):
                known.add(where)
                severity: Severity = (
                    "error" if p >= 0.99 else "advice" if bears and p < 0.94 else "warning"
                )
                good = 0.2 if first or width < 16 else 0.5
                yield self.finding(
                    where,
                    severity=severity,
                    p=f"{p:g} is dropped, of {width} units",
                    noise=f"{noise:.2g} of the signal at the next layer",
                    fix=f"set p={good}",
                )
