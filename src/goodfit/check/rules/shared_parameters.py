"""One module stands several times in a container.

## Why it matters
[block] * 6 is one block six times: the weights are shared and the net is six times smaller than it
looks.

## What to do
Build each one: nn.Sequential(*[make_block() for _ in range(6)]).

## When it is wrong
Weight sharing on purpose (recurrent blocks, tied embeddings).

Evidence: exact: modules are compared by identity.

Source: identity of modules.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding
from goodfit.check.probes.wiring import Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


class SharedParameters(Rule):
    needs: ClassVar[tuple[type, ...]] = (Wiring,)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        for group in seen[Wiring].shared:
            yield self.finding(
                group[0],
                same=f"{', '.join(group[:4])} are one module",
                fix="build each one anew: [make() for _ in range(k)] instead of [make()] * k",
            )
