"""Parameters that never take part in the forward pass.

## Why it matters
A layer that was built and forgotten, or a branch that is never reached: the net is not the one on
paper.

## What to do
Call the layer in forward, or remove it.

## When it is wrong
Heads that are used only in another phase.

Evidence: exact: parameters that autograd does not reach.

Source: exact, over several batches.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.gradients import Gradients
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class UnusedParameters(Rule):
    needs: ClassVar[tuple[type, ...]] = (Gradients, Flow)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        grads, called = seen[Gradients], seen[Flow].start.called
        used = {name for node in seen[Flow].start.nodes for name in node.params}
        unused = [
            g.name
            for g in grads.start.values()
            if g.missing
            and (
                seen[Flow].start.in_vain(g.name)
                or (g.name not in used and g.name.rpartition(".")[0] not in called - {""})
            )
            and (g.name not in grads.after or grads.after[g.name].missing)
        ]
        if unused:
            where = unused[0].rpartition(".")[0] or unused[0]
            yield self.finding(
                where,
                unused=f"{len(unused)} parameters: {', '.join(unused[:3])}",
                fix=f"use what {where} gives in forward, or remove it",
            )
