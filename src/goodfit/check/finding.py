"""A finding: the rule, how bad it is, where, the evidence, and the fix.

    warning[dead-units]
      at      layers.3
      dead    30% of 100 units, over 256 images
      limit   10%
      fix     lower the peak learning rate, or use GELU here

Errors and warnings are alarms. Advice is what a second pair of eyes would mention.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
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


@dataclass(frozen=True)
class Report:
    """All findings of one check, causes first.

    explained: symptoms that a finding accounts for; they would go away with it.
    skipped: rules that could not run, and why.
    seconds, memory: what the check took; memory in bytes, at most at one time.
    """

    findings: list[Finding]
    explained: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0
    rules: int = 0

    @property
    def ok(self) -> bool:
        """No errors and no warnings."""
        return all(finding.severity == "advice" for finding in self.findings)

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def __str__(self) -> str:
        blocks = [str(finding) + self._symptoms(finding) for finding in self.findings]
        return "\n\n".join([*blocks, self.summary()])

    def _symptoms(self, cause: Finding) -> str:
        said = sorted({f"{s.rule} at {s.where}" for s in self.explained if s.because == cause.rule})
        if not said:
            return ""
        more = f" and {len(said) - 3} more" if len(said) > 3 else ""
        return f"\n  explains {', '.join(said[:3])}{more}"

    def summary(self) -> str:
        """One line: how many findings, how many rules, how long."""
        counts = []
        for one, many in (
            ("error", "errors"),
            ("warning", "warnings"),
            ("advice", "pieces of advice"),
        ):
            number = sum(finding.severity == one for finding in self.findings)
            if number:
                counts.append(f"{number} {one if number == 1 else many}")
        took = f"{self.rules} rules, {self.seconds:.1f} s, {self.memory / 2**20:.0f} MiB"
        return f"{', '.join(counts) or 'nothing found'} ({took})"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "ok": self.ok,
            "findings": [finding.to_dict() for finding in self.findings],
            "explained": [finding.to_dict() for finding in self.explained],
            "skipped": self.skipped,
            "rules": self.rules,
            "seconds": round(self.seconds, 3),
            "memory_bytes": self.memory,
        }

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_github(self) -> str:
        """The report as annotations of a GitHub workflow, one line per finding."""
        return "\n".join(finding.to_github() for finding in self.findings)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one self-contained page."""
        from goodfit.check.page import page

        path = Path(path)
        path.write_text(page(self), encoding="utf-8")
        return path


def worst_first(findings: list[Finding]) -> list[Finding]:
    """Errors, then warnings, then advice; otherwise in the order found."""
    return sorted(findings, key=lambda finding: ORDER[finding.severity])
