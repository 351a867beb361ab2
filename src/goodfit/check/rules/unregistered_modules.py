"""Layers that the model uses and does not know of.

## Why it matters
Modules in a plain list are not moved, not saved, not switched between train and eval, and not
given to the optimizer: they stay random.

## What to do
Keep them in nn.ModuleList or nn.ModuleDict, single tensors in nn.Parameter attributes.

## When it is wrong
Weights that belong to another model on purpose, such as a frozen teacher, want no gradients.

Evidence: exact: tensors that autograd reaches are compared by identity with the parameters.

Source: tensors that autograd reaches against parameters().
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class UnregisteredModules(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Wiring,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        found = sorted(seen[Wiring].unregistered, key=lambda row: row[0])
        if found:
            place, held = found[0][0], all(row[2] for row in found)
            attribute = place.partition("[")[0]
            yield self.finding(
                place,
                severity="warning" if held else "error",
                tensors=f"{len(found)}, {sum(row[1] for row in found)} values, not among "
                f"parameters()",
                fix=f"wrap it: {attribute} = nn.ModuleList(...) (nn.ModuleDict for a dict, "
                f"nn.Parameter for a tensor)",
            )
