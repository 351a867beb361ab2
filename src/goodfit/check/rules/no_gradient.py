"""Parameters that are meant to learn and get no gradient.

## Why it matters
They stay random for ever, and everything after them learns around noise.

## What to do
Find what cuts the graph between them and the loss: detach(), .data, no_grad(), argmax, round, a
conversion to numpy.

## When it is wrong
Behind zero-initialized layers gradients are zero at the first step; the rule looks again after
real steps and with perturbed weights. Biases before a batch norm have none by nature. A recurrent
layer whose direction is left after one step does not use the weights of its states: mentioned only.

Evidence: exact: gradients that are None or zero on several batches, also after the weights were
perturbed.

Source: exact, over several batches.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.gradients import Gradients
from goodfit.check.probes.trace import layer_name
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen

CUT = (
    "remove what cuts the graph after it: detach(), .data, torch.no_grad(), argmax, round or numpy"
)


class NoGradient(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (DryRun, Wiring)
    also: ClassVar[tuple[type, ...]] = (Gradients, Flow)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        dry = seen[DryRun]
        if dry.stage == "backward" and "does not require grad" in dry.error:
            yield self.finding(
                "the loss",
                error=dry.error,
                fix=CUT + "; and set requires_grad_(True) on what is to learn",
            )
            return
        grads, flow = seen.get(Gradients), seen.get(Flow)
        if grads is None or flow is None:
            return
        wanted = {p.name for p in seen[Wiring].parameters if p.wants_grad}
        order = [n for node in flow.start.nodes for n in node.params]
        modules = flow.start.called - {""}
        cut = []
        for name, g in grads.start.items():
            after = grads.after.get(name)
            if name not in wanted or after is None:
                continue
            called = name in order or name.rpartition(".")[0] in modules
            if flow.start.in_vain(name):
                continue
            if g.missing and after.missing and called:
                cut.append((name, "none reaches it"))
            elif g.zero and after.zero and g.dims > 1:
                cut.append((name, "exactly zero in every batch, also with perturbed weights"))
        cut.sort(key=lambda c: -order.index(c[0]) if c[0] in order else 1)
        if cut:
            name, how = cut[0]
            heads = {layer_name(node) for node in flow.start.affine()}
            owner = name.rpartition(".")[0]
            states = all(n.rpartition(".")[2].startswith("weight_hh_l") for n, _ in cut)
            yield self.finding(
                owner if owner in heads or owner else name,
                severity="advice" if states else "error",
                gradient=how,
                parameters=f"{len(cut)} of {len(wanted)}: {', '.join(n for n, _ in cut[:3])}",
                fix="take the last state of each direction (h_n): at the last step, the direction "
                "that reads backward has read one step only"
                if states
                else CUT,
            )
