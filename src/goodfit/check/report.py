"""All findings of one check: as text, data, annotations of a workflow, or a page."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goodfit.check.finding import Finding
from goodfit.check.page import page


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
        path = Path(path)
        path.write_text(
            page(self.findings, self.explained, self.skipped, self.summary()), encoding="utf-8"
        )
        return path
