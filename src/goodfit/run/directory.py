"""The run directory: its files, each written beside its place and then renamed.

recipe.toml  data.json  machine.json  code/  steps.jsonl  evaluations.jsonl
findings.json  checkpoints/{last.pt, last.safetensors, best.safetensors}  result.json  report.html
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from goodfit.errors import RunError

_ENDS = [f"-{number}" for number in range(2, 1000)]


class RunDirectory:
    """One run on disk. Raises RunError, in four parts, where the disk refuses."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, name: str, root: str | Path = "runs") -> "RunDirectory":
        """A new directory `root/name`; an existing run is never written over."""
        path = free_place(name, root)
        with writing(path):
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def fresh(cls, data: str, root: str | Path = "runs") -> "RunDirectory":
        """A new directory named after the data and the time, then -2, -3, ... where it is taken.

        Several processes that start in the same second get a directory each.
        """
        name = fresh_name(data)
        with writing(Path(root)):
            Path(root).mkdir(parents=True, exist_ok=True)
            for place in (Path(root) / f"{name}{end}" for end in ("", *_ENDS)):
                with suppress(FileExistsError):
                    place.mkdir()
                    break
        return cls.create(place.name, root)

    @classmethod
    def open(cls, path: str | Path) -> "RunDirectory":
        """An existing run."""
        if not (Path(path) / "recipe.toml").is_file():
            raise RunError(
                "this is not a run directory",
                at=str(path),
                seen="it has no recipe.toml" if Path(path).is_dir() else "no such directory",
                fix="name a directory that `goodfit train` wrote; `goodfit runs` lists them",
            )
        return cls(path)

    def discard(self) -> None:
        """Remove the run, and the folder of runs if this was its only one."""
        with suppress(FileNotFoundError):  # somebody else removed it
            shutil.rmtree(self.path)
        with suppress(OSError):  # other runs are in it
            self.path.parent.rmdir()

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def write(self, name: str, content: str | bytes | dict[str, Any] | list[Any]) -> Path:
        """Write a file whole: readers see the old one or the new one, never half of it."""
        if isinstance(content, dict | list):
            content = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        data = content.encode() if isinstance(content, str) else content
        path = self.path / name
        with writing(path), replacing(path) as beside:
            beside.write_bytes(data)
        return path

    def read(self, name: str) -> Any:
        """A JSON file of the run, or RunError if it is missing or damaged."""
        path = self.path / name
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"the run has no {name}",
                at=str(self.path),
                fix=f"finish it: `goodfit resume {self.path}`",
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(
                "this file is damaged", at=str(path), seen=error, fix="train again"
            ) from None

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Add lines to a JSON-lines file."""
        with writing(self.path / name), (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """All whole lines of a JSON-lines file; a last line cut off by a crash is dropped."""
        path = self.path / name
        rows = []
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def findings(self) -> list[dict[str, Any]]:
        """What the doctor has found so far."""
        found: list[dict[str, Any]] = []
        if (self.path / "findings.json").exists():
            found = self.read("findings.json")
        return found

    def add_findings(self, new: list[dict[str, Any]]) -> None:
        """Keep what the doctor has found; what a run found before it was killed is not new."""
        known = self.findings() if new else []
        told = {(finding["rule"], finding["where"]) for finding in known}
        new = [finding for finding in new if (finding["rule"], finding["where"]) not in told]
        if new:
            self.write("findings.json", known + new)

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`, so that a resumed run logs nothing twice.

        Files that a killed process had begun to write go, too.
        """
        for half in [*self.path.glob(".*.*.[0-9]*"), *self.checkpoints.glob(".*.*.[0-9]*")]:
            half.unlink(missing_ok=True)
        for name in ("steps.jsonl", "evaluations.jsonl"):
            if not (self.path / name).exists():
                continue
            kept = [row for row in self.lines(name) if row["step"] <= step]
            self.write(name, "".join(json.dumps(row) + "\n" for row in kept))


def free_place(name: str, root: str | Path = "runs") -> Path:
    """Where a run called `name` would lie. Raises RunError if it cannot, or if one is there."""
    if name in (".", "..") or set(name) & set('/\\:*?"<>|\0'):
        raise RunError(
            "this cannot be the name of a run",
            at=repr(name),
            fix='name one folder, without / \\ : * ? " < > |; --runs says where it lies',
        )
    path = Path(root) / name
    with writing(path):
        if path.exists() and any(path.iterdir()):
            raise RunError(
                "there is already a run of this name",
                at=str(path),
                fix=f"choose another --name, or `goodfit resume {path}`",
            )
    return path


def fresh_name(data: str) -> str:
    """photos-2026-11-23-1412 for the data `photos/`."""
    stem = Path(data).resolve().stem if Path(data).exists() else Path(data).name
    word = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem).strip("-") or "run"
    return f"{word}-{time.strftime('%Y-%m-%d-%H%M%S')}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path`; what is written there replaces `path` once it is safely on disk."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses becomes a RunError that names `path`."""
    try:
        yield
    except OSError as error:
        raise RunError(
            "cannot write here",
            at=str(path),
            seen=error.strerror or error,
            fix="free some space or permissions there; a run that had begun goes on with "
            "`goodfit resume`, a new one may go elsewhere with --runs",
        ) from None
