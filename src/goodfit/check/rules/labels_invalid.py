"""Targets that the loss cannot mean.

## Why it matters
A label outside 0 .. C - 1 raises, or on a GPU kills the process; targets of the wrong type or
shape broadcast in silence and train something else.

## What to do
Re-index classes to 0 .. C - 1 as int64; give soft targets as float rows that sum to one.

## When it is wrong
-100 (or the loss's own ignore_index) marks samples without a label and is fine.

Evidence: exact: every label is looked at.

Source: exact; the loss is run once.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen


def whole_numbers(raw: Tensor) -> bool:
    """Whether these are class indices or one-hot rows rather than probabilities."""
    return bool((raw == raw.round()).all())


class LabelsInvalid(Rule):
    severity: ClassVar[Severity] = "error"
    needs: ClassVar[tuple[type, ...]] = (Samples, DryRun)

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data, dry = seen[Samples], seen[DryRun]
        width = dry.scores[1] if len(dry.scores) == 2 else None
        raised = dry.stage == "loss"
        for name, side in (("train", data.train), ("val", data.val)):
            if side is None or side.raw is None:
                continue
            raw = side.raw
            if raw.is_floating_point() and not bool(raw.isfinite().all()):
                yield self.finding(
                    f"{name} targets",
                    nonfinite=f"{int((~raw.isfinite()).sum())} values",
                    fix="drop the samples whose target is NaN or infinite",
                )
                continue
            if (
                raw.is_floating_point()
                and raw.ndim == 1
                and width is not None
                and width > 1
                and raised
            ):
                yield self.finding(
                    f"{name} targets",
                    type=f"{raw.dtype}, shape {tuple(raw.shape)}",
                    error=dry.error,
                    fix="give class indices as int64: y.long()",
                )
                continue
            if raised and raw.ndim == 2 and width is not None and width > 1 and whole_numbers(raw):
                yield self.finding(
                    f"{name} targets",
                    type=f"{raw.dtype}, shape {tuple(raw.shape)}",
                    error=dry.error,
                    fix="give one class index per sample as int64: "
                    + ("y.squeeze(1).long()" if raw.shape[1] == 1 else "y.argmax(1)"),
                )
                continue
            if side.y is None or raw.is_floating_point() or raw.ndim > 2:
                continue
            labels = raw.flatten() if raw.ndim == 2 and raw.shape[1] == 1 else raw
            if labels.ndim == 2:
                continue
            negative = (labels < 0) & (labels != data.ignored)
            known = labels[labels >= 0].unique()  # type: ignore[no-untyped-call]
            whole = (
                bool(len(known)) and len(known) == int(known[-1]) + 1
            )  # 0 .. C - 1: too few outputs
            over = (
                torch.zeros_like(labels, dtype=torch.bool)
                if whole
                else labels >= width
                if width is not None and width > 1
                else labels < -1000
            )
            if bool(negative.any()) or bool(over.any()):
                bad = int((negative | over).sum())
                first = int((negative | over).int().argmax())
                low, high = int(labels[labels != data.ignored].min()), int(labels.max())
                shift = (
                    f"subtract {low} from every label"
                    if low > 0 and width is not None and high - low < width
                    else (
                        f"re-index the labels to 0 .. {width - 1}"
                        if width
                        else "re-index the labels from 0"
                    )
                )
                yield self.finding(
                    f"{name} batch {int(side.batch[first])}, label {int(labels[first])}",
                    labels=f"{low} to {high}; {bad} of {len(labels)} outside 0 .. "
                    f"{width - 1 if width else '?'}",
                    outputs=width,
                    fix=shift,
                )
            elif raised and name == "train" and self.about_targets(dry.error):
                fix = (
                    "give targets of shape (n,): y.squeeze(1)"
                    if raw.ndim == 2
                    else (
                        "give class indices as int64: y.long()"
                        if "Long" in dry.error or "dtype" in dry.error or "type" in dry.error
                        else "give the loss targets of the shape and type it documents"
                    )
                )
                yield self.finding(
                    "train targets",
                    targets=dry.targets,
                    scores=dry.scores,
                    error=dry.error,
                    fix=fix,
                )

    def about_targets(self, error: str) -> bool:
        """Whether torch complains about the type or the shape of targets."""
        words = ("dtype", "scalar type", "Expected", "expected", "target", "size")
        return "out of bounds" not in error and any(word in error for word in words)
