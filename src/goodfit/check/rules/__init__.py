"""Rules: (seen) → findings. Each judges the records of probes and never touches a model."""

from collections.abc import Iterator
from typing import Any, ClassVar

from goodfit.check.finding import Finding, Severity
from goodfit.check.seen import Seen
from goodfit.ingredient import Ingredient


class Rule(Ingredient):
    """Base of all rules. The file's name is the rule's; its docstring is the rule's page.

    needs: the records without which the rule cannot judge.
    also: records that it uses when they are there.
    severity: what a finding of this rule is, unless the rule says otherwise.
    statistical: it concludes from a sample to what it was drawn from. Then a finding carries the
        chance that it came by luck, corrected for the places the rule looked at; Holm's procedure
        holds these over the report. Other rules count, compare or measure this very program and
        judge by size; each page says which, under "Evidence".
    """

    noun: ClassVar[str] = "rule"
    severity: ClassVar[Severity] = "warning"
    statistical: ClassVar[bool] = False
    needs: ClassVar[tuple[type, ...]] = ()
    also: ClassVar[tuple[type, ...]] = ()

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        raise NotImplementedError

    def finding(
        self,
        where: str,
        *,
        fix: str,
        severity: Severity | None = None,
        patch: dict[str, Any] | None = None,
        chance: float | None = None,
        **evidence: object,
    ) -> Finding:
        """A finding of this rule; every further keyword is a piece of evidence."""
        said = {name.replace("_", " "): str(value) for name, value in evidence.items()}
        return Finding(self.name, severity or self.severity, where, said, fix, patch or {}, chance)
