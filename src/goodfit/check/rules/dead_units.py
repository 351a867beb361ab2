"""Units that output zero for every image.

## Why it matters
Where a ReLU outputs zero its gradient is zero, so a unit that is zero everywhere cannot learn.
A few are normal; many mean that the learning rate was too high in the first steps, or that a
bias pushed them under.

## What to do
Lower the peak learning rate or lengthen the warmup; initialize with Kaiming and zero bias. If
units still die, use LeakyReLU or GELU, whose gradient does not vanish there.

## When it is wrong
After pruning, zeros are wanted: silence the rule for that run. Good nets have layers with 20 to
40% silent units; the limit lies above that.

Evidence: measured: units counted on images of the program's own; a unit seen silent on n of them is
active on at most 1 - 0.01^(1/n) (Clopper and Pearson).

Source: Lu et al. 2019, arXiv:1903.06733. Lecture: Activation Functions, ReLU.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.operations import NORMS, RECTIFIERS
from goodfit.check.probes.trace import Node, Trace, is_weighted, layer_name
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Count, Fraction

FIX = {
    "layer": "initialize {} with nn.init.kaiming_normal_ and a zero bias, or use GELU after it",
    "norm": "start {} with a weight of one and a zero bias, and give the activation after it a "
    "threshold of zero",
    "activation": "look at the sign and the threshold of {}: it gives zero where its input passes",
}


@dataclass(frozen=True)
class Silent:
    """The share of units that a rectifier keeps at zero, and their number."""

    share: float
    units: int
    cause: str  # what decides it: the weights of a layer, a norm, the activation itself


def silent_shares(seen: Trace) -> dict[str, Silent]:
    """Silent units by the place that silences them."""
    found: dict[str, Silent] = {}
    for node in seen.nodes:
        if node.op in RECTIFIERS and node.stats is not None and node.stats.silent is not None:
            share = silence(node)
            name, cause = silencer(seen, node)
            if name not in found or found[name].share < share:
                found[name] = Silent(share, len(node.stats.silent), cause)
    return found


def silence(node: Node) -> float:
    """The share of its units that are zero for every sample."""
    silent = node.stats.silent if node.stats is not None else None
    return float(silent.double().mean()) if silent is not None else 0.0


def silencer(seen: Trace, node: Node) -> tuple[str, str]:
    """Where the units of a rectifier die.

    Behind a normalization the layer before it has no say: its scale is divided out. Behind another
    activation that still lets units through, it is the rectifier itself.
    """
    source = seen.weighted_before(node.index)
    layer = layer_name(source) if source is not None else node.module or "the model"
    for before in seen.back(node.inputs[0]) if node.inputs else ():
        if before.op in NORMS:
            return layer_name(before), "norm"
        if is_weighted(before):
            break
        passes = before.op in RECTIFIERS and silence(before) < silence(node) - 0.05
        if passes and node.module:
            return node.module, "activation"
    return layer, "layer"


class DeadUnits(Rule):
    severity: ClassVar[Severity] = "warning"
    needs: ClassVar[tuple[type, ...]] = (Flow,)
    also: ClassVar[tuple[type, ...]] = (Training,)
    most: Fraction = 0.6  # share of a layer that may be dead from the start
    died: Fraction = 0.45  # share that may die in the first steps
    error_above: Fraction = 0.9
    few: Count = 32  # images; over fewer, many a living unit is silent by chance

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        flow = seen[Flow]
        before = silent_shares(flow.start)
        training = seen.get(Training)
        judged = flow.after is not None and not (training is not None and training.learns)
        after = silent_shares(flow.after) if flow.after is not None and judged else {}
        images = flow.start.images
        upper = 1 - 0.01 ** (1 / max(1, images))  # of P(active) for a unit that was never active
        first = True
        for name, silent in before.items():
            share, units = silent.share, silent.units
            now = after.get(name, silent).share
            dead = min(share, now) if share > self.most else now
            died = now - share
            most, fell = (self.most, self.died) if images >= self.few else (self.error_above,) * 2
            if units < 4 or not (dead > most or (died > fell and now > fell)):
                continue
            fix = (
                FIX[silent.cause].format(name)
                if share > self.most
                else "lower the peak learning rate tenfold, or use GELU here"
            )
            yield self.finding(
                name,
                severity="error" if dead > self.error_above and first else "warning",
                dead=f"{dead:.0%} of {units} units, over {images} images (each active on at "
                f"most {upper:.1%})",
                at_start=f"{share:.0%}",
                limit=f"{self.most:.0%}",
                fix=fix,
            )
            first = False
