"""A finding: the rule, how bad it is, where, the evidence, and the fix.

    warning[dead-units]
      at      layers.3
      dead    30% of 100 units, over 256 images
      limit   10%
      fix     lower the peak learning rate, or use GELU here

Errors and warnings are alarms. Advice is what a second pair of eyes would mention.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from goodfit.errors import four_parts

Severity = Literal["error", "warning", "advice"]
ORDER: dict[str, int] = {"error": 0, "warning": 1, "advice": 2}


@dataclass(frozen=True)
class Finding:
    """What one rule found at one place.

    where: a name in `named_modules` or `named_parameters`, a batch and index, or a class.
    patch: recipe fields and values that mend it, where a recipe can: {"optimizer.lr": 0.01}.
    chance: how often noise alone would give this evidence; None for exact evidence.
    """

    rule: str
    severity: Severity
    where: str
    evidence: dict[str, str]
    fix: str
    patch: dict[str, Any] = field(default_factory=dict)
    chance: float | None = None
    because: str = ""  # the rule that explains this one, once it is folded

    def __str__(self) -> str:
        return four_parts(
            f"{self.severity}[{self.rule}]", self.where, dict(self.evidence), self.fix
        )

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        plain: dict[str, Any] = {
            "rule": self.rule,
            "severity": self.severity,
            "where": self.where,
            "evidence": dict(self.evidence),
            "fix": self.fix,
        }
        plain |= {"patch": dict(self.patch)} if self.patch else {}
        plain |= {"chance": self.chance} if self.chance is not None else {}
        return plain | ({"because": self.because} if self.because else {})

    def to_github(self) -> str:
        """The finding as an annotation of a GitHub workflow."""
        level = {"error": "error", "warning": "warning", "advice": "notice"}[self.severity]
        seen = "; ".join(f"{name}: {text}" for name, text in self.evidence.items())
        text = f"{self.where}: {seen}. Fix: {self.fix}"
        text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return f"::{level} title={self.rule}::{text}"


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Errors, then warnings, then advice; otherwise in the order found."""
    return sorted(findings, key=lambda finding: ORDER[finding.severity])
