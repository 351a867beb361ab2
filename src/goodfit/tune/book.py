"""What a study has found so far, in one file, so that it goes on where it stopped."""

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from goodfit.errors import RunError
from goodfit.report.records import TuneStep
from goodfit.run.directory import replacing


class Book:
    """Steps walked, their results, the time spent; kept in the study's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "steps.json"
        self.found: dict[str, Any] = {"of": {}, "spent": 0.0, "steps": [], "kept": {}}
        if self.path.exists():
            try:
                self.found = json.loads(self.path.read_text("utf-8"))
            except ValueError as error:
                raise RunError(
                    "this file is damaged",
                    at=str(self.path),
                    seen=error,
                    fix="remove it: trials are kept, and the first steps are walked again",
                ) from None

    def claim(self, of: dict[str, str]) -> None:
        """Refuse to mix studies: a folder belongs to one recipe on one data set."""
        old = self.found["of"]
        for name, value in of.items():
            if old and old.get(name) != value:
                raise RunError(
                    f"this folder holds a study of another {name}",
                    at=str(self.path.parent),
                    fix="give another --folder, or the same recipe, space and data as before",
                )
        self.found["of"] = of
        self.save()

    def value(self, name: str) -> Any:
        """The result of a step, or None."""
        return next((s["value"] for s in self.found["steps"] if s["step"]["name"] == name), None)

    def add(self, step: TuneStep, value: Any) -> None:
        """Note a step; one of the same name is replaced."""
        row = {"step": step.model_dump(mode="json"), "value": value}
        rows = self.found["steps"]
        place = next((i for i, r in enumerate(rows) if r["step"]["name"] == step.name), len(rows))
        row["step"]["number"] = place + 1
        rows[place : place + 1] = [row]
        self.save()

    def keep(self, name: str, value: Any) -> Any:
        """A decision made once: what was kept under this name before, else `value`."""
        if name not in self.found["kept"]:
            self.found["kept"][name] = value
            self.save()
        return self.found["kept"][name]

    @property
    def name(self) -> str:
        """Of this study among all in a database."""
        of = json.dumps(self.found["of"], sort_keys=True)
        return f"{self.path.parent.name}-{blake2b(of.encode(), digest_size=4).hexdigest()}"

    @property
    def steps(self) -> tuple[TuneStep, ...]:
        return tuple(TuneStep(**row["step"]) for row in self.found["steps"])

    @property
    def spent(self) -> float:
        """Seconds, over all processes that led this study."""
        return float(self.found["spent"])

    def spend(self, seconds: float) -> None:
        self.found["spent"] = self.spent + seconds
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as beside:
            beside.write_text(json.dumps(self.found, indent=1), "utf-8")
