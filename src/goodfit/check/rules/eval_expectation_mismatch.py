"""Evaluation is another net than training, on the average or altogether.

## Why it matters
Everything after a layer was trained on another scale, or on other values, than it is tested on.

## What to do
Divide by the keep probability in training (inverted dropout), or multiply by it in evaluation,
and never both. Where no layer is random: let evaluation use the weights, the statistics and the
parts that training uses.

## When it is wrong
Where nonlinear layers follow the noise inside the module, the average differs a little by nature;
such modules get a wider margin, and a mean that rises by less than the noise is left alone. Nets
that choose softly in training and strictly in evaluation may fail early and catch up later.
Averages that are still on their way after the few steps of the check are waited for, and then left
alone.

Evidence: statistical: the average over many draws against the evaluation output, in standard
errors; or train images that a shortly trained net gets right in training mode and wrong in
evaluation, by a sign test, when the odds of an error rise threefold. Holm over the report.

Source: Srivastava et al. 2014, JMLR 15; Monte-Carlo mean on the module's own input, with its
standard error.
"""

from collections.abc import Iterator
from typing import ClassVar

from scipy.stats import norm

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.evaluation import Evaluation
from goodfit.check.probes.modes import Modes
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive


class EvalExpectationMismatch(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Evaluation,)
    also: ClassVar[tuple[type, ...]] = (Modes,)
    exact: Fraction = 0.04  # deviation of the scale for a plain random layer
    block: Fraction = 0.3  # for a module with layers inside
    sure: Positive = 6.0  # standard errors

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        layers = list(self._layers(seen))
        yield from layers
        modes = seen.get(Modes)
        if not layers and modes is not None and modes.fails and modes.arrived:
            yield self.finding(
                modes.where,
                chance=modes.chance,
                accuracy=f"{modes.training:.0%} in training mode and {modes.evaluation:.0%} in "
                f"evaluation, of the same {modes.images} train images after some steps",
                loss=f"{modes.loss_training:.3g} and {modes.loss_evaluation:.3g}",
                fix="let evaluation use the weights, statistics and parts that training uses: "
                "compare the outputs of model.train() and model.eval() layer by layer",
            )

    def _layers(self, seen: Seen) -> Iterator[Finding]:
        for e in seen[Evaluation].expectations:
            off = abs(e.scale - 1)
            # noise before rectifiers raises their mean, but by less than the noise itself
            curved = not e.plain and e.scale > 1 and e.bias < 1
            # alpha dropout keeps the mean of inputs around zero alone
            exact = e.plain and not e.kind.endswith("AlphaDropout")
            wrong = off > (self.exact if exact else self.block) or (
                not e.plain and e.bias > 0.6 and e.relative > 0.2
            )
            if wrong and e.z > self.sure and not curved and not e.preserves:
                yield self.finding(
                    e.name,
                    chance=float(2 * norm.sf(e.z)),
                    training=f"average of {e.draws} draws is {e.scale:.2f} times the "
                    f"evaluation output ({e.z:.0f} standard errors)",
                    fix="divide by the keep probability in training and return the input as "
                    "it is in evaluation (inverted dropout)",
                )
