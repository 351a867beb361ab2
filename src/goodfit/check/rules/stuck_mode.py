"""train() or eval() does not reach a module.

## Why it matters
A dropout that stays on makes testing random; a batch norm that stays in evaluation never learns
its statistics, one that stays in training lets the batch decide.

## What to do
Keep modules in nn.ModuleList or attributes, and do not override train() except for frozen parts.

## When it is wrong
Frozen backbones keep batch norm in evaluation on purpose; frozen parts are skipped.

Evidence: exact: modes are read after train() and eval().

Source: exact.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.norms import Norms
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class StuckMode(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Wiring,)
    also: ClassVar[tuple[type, ...]] = (Norms,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        wiring, norms = seen[Wiring], seen.get(Norms)
        settled = (
            {n.name for n in norms.norms if not n.fresh and n.divergence < 0.3}
            if norms is not None
            else set()
        )
        bad = [
            s for s in wiring.stuck if not (s.mode == "eval" and (s.frozen or s.name in settled))
        ]
        if bad:
            first = bad[0]
            other = "train()" if first.mode == "eval" else "eval()"
            yield self.finding(
                first.name,
                mode=f"{first.kind} stays in {first.mode} mode after {other}",
                modules=f"{len(bad)} do",
                fix="do not override train() or eval() so that they skip modules; call "
                "super().train(mode) and return self",
            )
