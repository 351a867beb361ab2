"""The model's last operation does not fit the loss.

## Why it matters
Cross-entropy takes logits. A softmax, sigmoid or tanh before it bounds them, so that the loss
cannot fall and gradients shrink; a ReLU before it kills classes. A loss that takes probabilities
or log-probabilities fails on logits the same way.

## What to do
Return raw scores from the model, and apply softmax only to predict.

## When it is wrong
log_softmax with the negative log-likelihood is right, and log_softmax before cross-entropy is
harmless.

Evidence: measured: ranges of the scores when the last weights are scaled up, and the loss's own
floor inside them.

Source: the least loss that the attainable scores allow.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.operations import RECTIFIERS, RESHAPES, SOFTMAXES, SQUASHERS
from goodfit.check.probes.trace import Node, Trace
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction


def last_activation(seen: Trace) -> Node | None:
    """The activation after the last weights, if any."""
    for node in seen.back(seen.output):
        if node.op in SOFTMAXES | SQUASHERS | RECTIFIERS:
            return node
        if node.op not in RESHAPES and node.op not in ("float", "clamp", "log"):
            return None
    return None


class OutputActivation(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (LossFacts,)
    also: ClassVar[tuple[type, ...]] = (Flow, DryRun)
    floor: Fraction = 0.25  # of the loss of equal scores, that the best attainable scores may keep

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        facts, flow = seen[LossFacts], seen.get(Flow)
        last = last_activation(flow.start) if flow is not None else None
        at = last.module or last.op if last is not None else "the output"
        dry = seen.get(DryRun)
        if dry is not None and dry.stage == "loss" and "between 0 and 1" in dry.error:
            yield self.finding(
                "the output", error=dry.error, fix="use the loss on logits: nn.BCEWithLogitsLoss()"
            )
            return
        if facts.outputs < 2:
            yield from self.of_one(facts, last)
            return
        rows, columns = (
            facts.rows_sum < 1e-3 and facts.negative >= 0,
            facts.columns_sum < 1e-3 and facts.negative >= 0,
        )
        op = last.op if last is not None else ""
        if columns and not rows:
            yield self.finding(
                at,
                columns="the scores of a class sum to 1 over the batch",
                fix="take the softmax over classes: dim=1, and only to predict; train on raw "
                "scores",
            )
        elif facts.shift and rows:
            yield self.finding(
                at,
                rows="every row of scores sums to 1",
                loss="applies a softmax of its own",
                least_loss=f"{facts.best:.2g} of {facts.constant:.2g}",
                fix="remove the softmax from the model; apply it only to predict",
            )
        elif facts.linear and rows:
            yield self.finding(
                at,
                rows="every row of scores sums to 1",
                loss="takes log-probabilities",
                fix="use log_softmax instead of softmax, or cross-entropy on raw scores",
            )
        elif facts.linear and facts.log_rows > 0.1 and facts.rewarded > 0.9:
            yield self.finding(
                "the output",
                rows="raw scores",
                loss="is linear in them: it takes log-probabilities",
                fix="use nn.CrossEntropyLoss() instead of nn.NLLLoss(), or return "
                "log_softmax(scores, 1)",
            )
        elif op in RECTIFIERS and facts.negative >= 0:
            yield self.finding(
                at,
                scores=f"never negative, {facts.zeros:.0%} exactly zero",
                fix="remove the ReLU after the last layer",
            )
        elif (
            facts.constant > 0 and facts.best > self.floor * facts.constant and facts.rewarded > 0.9
        ):
            yield self.finding(
                at,
                scores=f"stay between {facts.low:.3g} and {facts.high:.3g} however large the "
                f"weights",
                least_loss=f"{facts.best:.2g}, with equal scores {facts.constant:.2g}",
                fix=f"remove {op} from the output"
                if op in SQUASHERS
                else "multiply the scores by a scale of 10 or more (a learned one), or return "
                "raw scores",
            )

    def of_one(self, facts: LossFacts, last: Node | None) -> Iterator[Finding]:
        """One score for two classes: a sigmoid or ReLU that the loss does not expect."""
        if facts.constant > 0 and facts.best > self.floor * facts.constant and facts.judged >= 8:
            yield self.finding(
                last.module or last.op if last is not None else "the output",
                scores=f"stay between {facts.low:.3g} and {facts.high:.3g} however large the "
                f"weights",
                least_loss=f"{facts.best:.2g}, with scores of zero {facts.constant:.2g}",
                fix=f"remove {last.op if last is not None else 'the activation'} from the output: "
                f"the loss takes raw scores",
            )
