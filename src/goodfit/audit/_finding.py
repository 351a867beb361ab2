"""What an audit says of each random part, and how many tests are judged together."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from goodfit.errors import four_parts

Verdict = Literal["exact", "approximate", "wrong"]


class Gap(NamedTuple):
    """Average of training over evaluation, minus 1, with a 95% interval. 0 is exact."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2%} [{self.low:+.2%}, {self.high:+.2%}]"


class Finding(NamedTuple):
    """The verdict on one random part of a model, or on one augmentation.

    where: the module's name. kind: its class. seen: the evidence. fix: how to mend it, or why
    nothing needs mending. gap: the difference where one number says it.
    """

    where: str
    kind: str
    verdict: Verdict
    seen: dict[str, str]
    fix: str
    gap: Gap | None = None

    def __str__(self) -> str:
        seen: dict[str, object] = {"kind": self.kind, **self.seen}
        return four_parts(f"{self.verdict}[eval-expectation]", self.where, seen, self.fix)


class Audit(NamedTuple):
    """All findings of one audit; `ok` when none of them is wrong. Print it."""

    findings: tuple[Finding, ...]
    false_alarm: float

    @property
    def ok(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.verdict == "wrong")

    def __str__(self) -> str:
        if not self.findings:
            return "nothing random was found"
        said = [str(finding) for finding in self.wrong]
        kinds: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            if finding.verdict != "wrong":
                kinds.setdefault((finding.verdict, finding.kind), []).append(finding)
        said += [_summary(group) for group in kinds.values()]
        counts = f"{len(self.findings)} random parts, {len(self.wrong)} wrong"
        return "\n".join([*said, f"{counts} (false alarm at most {self.false_alarm:.0%})"])


def _summary(group: list[Finding]) -> str:
    """Findings of one kind and verdict in a line, with the worst of them."""
    worst = max(group, key=lambda f: abs(f.gap.value) if f.gap else 0.0)
    first, several = group[0], f"{len(group)} places" if len(group) > 1 else group[0].where
    text = f"{first.verdict:<12}{first.kind}, {several}"
    if worst.gap:
        text += f"; largest gap {worst.gap}" + (f" at {worst.where}" if len(group) > 1 else "")
    elif worst.verdict == "approximate":
        text += "; " + ", ".join(f"{name} {value}" for name, value in worst.seen.items())
    return text


def holm(p_values: Sequence[float], false_alarm: float) -> list[bool]:
    """Which hypotheses are rejected so that any false rejection has at most this probability."""
    rejected = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] > false_alarm / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected
