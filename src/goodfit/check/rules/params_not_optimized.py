"""Parameters that want gradients but that no optimizer updates.

## Why it matters
They stay as they were drawn. Typical: the optimizer was made before a layer was replaced or
moved, or for another model.

## What to do
Make the optimizer after the model is complete, from model.parameters().

## When it is wrong
A backbone left out on purpose; freeze it with requires_grad_(False) to say so. A backbone that is
visibly trained is taken as on purpose, and so is a rate of zero in a net that is right far more
often than chance before its first step: a fresh layer in it would not let it be.

Evidence: exact: parameters and groups are compared by identity.

Source: identity of tensors.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.wiring import Parameter, Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class ParamsNotOptimized(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Wiring,)
    also: ClassVar[tuple[type, ...]] = (Flow,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        wiring = seen[Wiring]
        if not wiring.groups:
            return
        wanted = [p for p in wiring.parameters if p.wants_grad]
        missing = [p for p in wanted if not p.optimized]
        fix = "make the optimizer last, from all parameters: "
        "type(optimizer)(model.parameters(), lr=...)".replace(
            "type(optimizer)", f"torch.optim.{wiring.optimizer}"
        )
        if missing and len(missing) == len(wanted) and wanted:
            modules = {p.module for p in wanted}
            yield self.finding(
                modules.pop() if len(modules) == 1 else "the optimizer",
                holds=f"{wiring.strangers} parameters, none of the model's",
                fix=fix,
            )
        elif missing:
            tracked = any(row["tracked"] > 20 for row in wiring.norms.values())
            trained = tracked or self.looks_trained(missing, wanted)
            first = next((p for p in missing if p.dims > 1), missing[0])
            yield self.finding(
                first.module or first.name,
                severity="advice" if trained else "error",
                missing=f"{len(missing)} of {len(wanted)} parameters: "
                f"{', '.join(p.name for p in missing[:3])}",
                fix="set requires_grad_(False) on what is frozen on purpose" if trained else fix,
            )
        still = [p for p in wanted if p.optimized and p.lr == 0]
        moving = [p for p in wanted if p.optimized and p.lr > 0]
        waits = any("initial_lr" in g.settings for g in wiring.groups)
        if still and moving and not waits:
            flow = seen.get(Flow)
            kept = (flow is not None and flow.trained) or self.looks_trained(still, moving)
            yield self.finding(
                still[0].module,
                severity="advice" if kept else "error",
                lr=f"0 for {len(still)} of {len(wanted)} parameters",
                fix="give this parameter group a positive learning rate, or freeze it with "
                "requires_grad_(False)",
            )

    def looks_trained(self, missing: list[Parameter], wanted: list[Parameter]) -> bool:
        """Whether what is left out is a trained backbone: most of it not freshly drawn."""
        weights = [p for p in missing if p.dims > 1]
        kept = [p for p in wanted if p.optimized and p.dims > 1]
        size = sum(p.size for p in weights)
        return bool(kept) and sum(p.size for p in weights if not p.drawn) > 0.7 * max(1, size)
