"""Inputs far from mean 0 and standard deviation 1.

## Why it matters
The gradient of the first layer is proportional to its input. Pixels in 0..255 make it a hundred
times too steep, and a large common offset makes the loss a narrow valley: the condition number of
the inputs' second moments bounds the learning rate.

## What to do
Subtract the train set's mean and divide by its standard deviation, per channel; in training,
validation and prediction alike.

## When it is wrong
A normalization before the first layer makes the scale irrelevant; the rule looks at what the
first layer with weights receives, and only advises when a norm follows that layer.

Evidence: measured: moments of the delivered inputs, judged by their size.

Source: LeCun et al. 1998, "Efficient BackProp". Lecture: Data preprocessing.
"""

from collections.abc import Iterator
from typing import ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.flow import Flow
from goodfit.check.probes.samples import Samples
from goodfit.check.probes.training import Training
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Positive

FIX = (
    "normalize: (x - mean) / std with the train set's mean and std per channel, for train "
    "and val alike"
)


class InputScale(Rule):
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    also: ClassVar[tuple[type, ...]] = (Flow, Training)
    most: Positive = 12.0  # root mean square that the first layer may receive
    least: Positive = 0.02
    offset: Positive = 12.0  # mean over standard deviation
    uneven: Positive = 300.0  # largest feature's scale over the median one's

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        x = seen[Samples].train.x
        if not x.isfinite().all() or x.ndim < 2:
            return
        flow, training = seen.get(Flow), seen.get(Training)
        first = flow.layers[0] if flow is not None and flow.layers else None
        rms, mean, std = float(x.square().mean().sqrt()), float(x.mean()), float(x.std())
        received = first.rms_in if first is not None else rms
        own_norm = first is not None and abs(received - rms) > 0.2 * rms and 0.05 < received < 8
        if own_norm or std == 0:
            return
        said = (
            f"mean {mean:.3g}, standard deviation {std:.3g}, range {float(x.min()):.3g} to "
            f"{float(x.max()):.3g}"
        )
        harmless = first is not None and first.normed
        learns = training is not None and training.own.learns and training.own.progress > 0.5
        severity: Severity = "advice" if harmless else "warning"
        dims = tuple(d for d in range(x.ndim) if d != 1)
        spreads = x.std(dims) if x.ndim != 3 else x.std((0, 1))
        size = x.square().mean(dims).sqrt() if x.ndim != 3 else x.square().mean((0, 1)).sqrt()
        alive = size[size > 0]
        if rms > self.most:
            yield self.finding(
                "the inputs",
                severity=severity,
                inputs=said,
                usual="mean 0, standard deviation 1",
                fix=FIX,
            )
        elif rms < self.least:
            yield self.finding(
                "the inputs",
                severity=severity,
                inputs=said,
                usual="mean 0, standard deviation 1",
                fix=FIX + "; they look divided by 255 twice" if rms < 0.01 else FIX,
            )
        elif abs(mean) > self.offset * std:
            yield self.finding(
                "the inputs",
                severity=severity,
                inputs=said,
                offset=f"{abs(mean) / std:.0f} standard deviations",
                fix=FIX,
            )
        elif (
            x.ndim == 2
            and len(alive) > 1
            and float(alive.max() / alive.median()) > self.uneven
            and not learns
        ):
            worst = int(size.argmax())
            yield self.finding(
                f"input feature {worst}",
                severity=severity,
                scale=f"{float(size[worst]):.3g}",
                median=f"{float(alive.median()):.3g}",
                fix="standardize each feature by its own mean and std of the train set",
            )
        elif (
            float(x.min()) >= 0
            and mean > 0.5 * std
            and x.ndim == 4
            and float(spreads.max()) < 0.6
            and not harmless
        ):
            yield self.finding("the inputs", severity="advice", inputs=said, fix=FIX)
