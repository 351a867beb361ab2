"""A table of image paths and labels: .csv, .tsv or .parquet.

    path,label,split,patient
    a/1.jpg,ants,train,17

Paths are relative to `root`, by default the table's folder. The columns are found by their usual
names or set by `path_column` and so on; a table of two columns needs no names. A split column
(train, val, test) is used as it is; rows of the same `group_column`, say all images of one
patient, stay on one side. Rows that are there twice count once.

At test time the rows of the split `test` are used once; they never choose anything.
"""

import csv
import os
from pathlib import Path

from goodfit.data._assemble import PART_NAMES
from goodfit.data._base import Data, Splits
from goodfit.data._files import SUFFIXES, Verify
from goodfit.data._listed import Row, file_splits
from goodfit.errors import DataError, MissingExtraError

_PATHS = ["path", "image", "image_path", "file", "filename", "file_name", "filepath", "img"]
_LABELS = ["label", "class", "target", "category", "class_name", "species", "y"]
_PARTS = ("split", "subset", "fold", "set", "partition")


class Table(Data):
    """verify: "all" decodes every image at start, "quick" none but suspicious ones."""

    path: Path
    root: Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None
    verify: Verify = "auto"

    def __call__(self) -> Splits:
        path = self.path.expanduser()
        columns, at = _read(path), str(self.path)
        images = _column(columns, self.path_column, _PATHS, "path_column", at)
        labels = _column(columns, self.label_column, _LABELS, "label_column", at)
        parts = self._parts(columns, at)
        groups = [""] * len(images)
        if self.group_column is not None:
            groups = _column(columns, self.group_column, [], "group_column", at)
        root = (self.root.expanduser() if self.root else path.parent).absolute()
        rows = [
            Row(_from(root, image), label, part, group)
            for image, label, part, group in zip(images, labels, parts, groups, strict=True)
        ]
        once = list(dict.fromkeys(rows))
        _check(once, root, at)
        notes = [f"{len(rows) - len(once)} rows are there twice"] if len(once) < len(rows) else []
        return file_splits(self, root, once, verify=self.verify, notes=notes, origin=at)

    def _parts(self, columns: dict[str, list[str]], at: str) -> list[str]:
        """train, val or test for each row; empty where the table does not say."""
        known = [name for name in columns if name.lower() in _PARTS]
        if self.split_column is None:
            usable = [n for n in known if {v.lower() for v in columns[n]} <= PART_NAMES.keys()]
            if not usable:
                return [""] * len(next(iter(columns.values())))
            return [value.lower() for value in columns[usable[0]]]
        parts = [v.lower() for v in _column(columns, self.split_column, [], "split_column", at)]
        strange = sorted(set(parts) - PART_NAMES.keys())
        if strange:
            raise DataError(
                f"{strange[0]!r} is not the name of a split",
                at=f"column {self.split_column} of {at}",
                known="train, val, test",
                fix="write train, val or test in every row",
            )
        return parts


def _from(root: Path, name: str) -> str:
    return os.path.relpath(name, root) if os.path.isabs(name) else os.path.normpath(name)


def _check(rows: list[Row], root: Path, at: str) -> None:
    empty = [number for number, row in enumerate(rows) if not row.label]
    if empty:
        raise DataError(
            f"{len(empty)} rows have no label",
            at=f"{at}, row {empty[0] + 1} first",
            fix="label or remove these rows",
        )
    labels: dict[str, str] = {}
    for row in rows:
        if labels.setdefault(row.name, row.label) != row.label:
            raise DataError(
                "an image has two labels",
                at=f"{row.name} in {at}",
                labels=f"{labels[row.name]}, {row.label}",
                fix="keep one row per image",
            )
    if rows and not any((root / row.name).exists() for row in rows[:100]):
        raise DataError(
            "the images of the table are not there",
            at=at,
            looked_for=str(root / rows[0].name),
            fix="set `root` to the folder that the paths start from",
        )


def _column(
    columns: dict[str, list[str]], wanted: str | None, usual: list[str], setting: str, at: str
) -> list[str]:
    lower = {name.lower().strip(): name for name in columns}
    name = wanted if wanted is not None else next((lower[u] for u in usual if u in lower), None)
    if name is not None and name in columns:
        return columns[name]
    raise DataError(
        f"the table has no column {wanted!r}" if wanted else "it is not clear which column to use",
        at=at,
        columns=", ".join(columns),
        fix=f"set `{setting}` to one of these columns",
    )


def _read(path: Path) -> dict[str, list[str]]:
    """The table's columns as text."""
    if not path.is_file():
        raise DataError("there is no such table", at=str(path), fix="correct the path")
    columns = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _text(path)
    if not columns or not next(iter(columns.values())):
        raise DataError(
            "the table has no rows", at=str(path), fix="write a line of column names, then the rows"
        )
    return columns


def _headed(rows: list[list[str]]) -> list[list[str]]:
    """Rows under column names. A table of two columns may begin with a path and a label at once."""
    first = rows[0]
    images = [os.path.splitext(cell.strip())[1].lower() in SUFFIXES for cell in first]
    if len(first) != 2 or sum(images) != 1:
        return rows
    return [["path" if image else "label" for image in images], *rows]


def _text(path: Path) -> dict[str, list[str]]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter=separator, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "the table cannot be read", at=str(path), seen=str(error), fix="save it as UTF-8 text"
        ) from None
    if not rows:
        return {}
    rows = _headed(rows)
    short = next((n for n, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if short is not None:
        raise DataError(
            "a row has another number of columns than the first",
            at=f"{path}, row {short}",
            seen=f"{len(rows[short])} instead of {len(rows[0])}",
            fix="quote values that contain the separator",
        )
    return {name: list(values) for name, *values in zip(*rows, strict=True)}


def _parquet(path: Path) -> dict[str, list[str]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("tables", "reading .parquet") from None
    try:
        content = parquet.read_table(path).to_pydict()
    except Exception as error:  # Arrow has its own tree of exceptions
        raise DataError(
            "this is not a parquet table",
            at=str(path),
            seen=str(error).splitlines()[0],
            fix="write it anew, or give a .csv",
        ) from None
    return {
        name: ["" if value is None else str(value) for value in values]
        for name, values in content.items()
    }
