"""Which kind of data set a word on the command line means."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from goodfit.data._base import Data
from goodfit.data.arrays import Arrays
from goodfit.data.digits import Digits
from goodfit.data.folder import Folder
from goodfit.errors import DataError


def guess(where: Any, **settings: Any) -> Data:
    """The data set that `where` means.

    A folder; a .csv, .tsv or .parquet table of paths and labels; an .npz file; .tar shards, by a
    pattern or a folder that has nothing else; `digits`; `hf:name`; the name of a torchvision data
    set, as `cifar10`; in Python also a Data or a map-style torch Dataset. `settings` are fields.
    """
    if isinstance(where, Data):
        return where.replaced(**settings) if settings else where
    if not isinstance(where, str | os.PathLike):
        from goodfit.data.dataset import Dataset

        return Dataset(train=where, **settings)
    text = os.fspath(where)
    if not text.strip():
        raise DataError("no data is named", fix="name a folder, a file or a data set")
    path = Path(text).expanduser()
    if text.startswith("hf:"):
        from goodfit.data.hub import Hub

        return Hub(repository=text[3:], **settings)
    if text.endswith(".tar") or (path.is_dir() and _only_shards(path)):
        from goodfit.data.shards import Shards

        return Shards(path=text, **settings)
    if path.is_dir():
        return Folder(path=path, **settings)
    if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".pq"):
        from goodfit.data.table import Table

        return Table(path=path, **settings)
    if path.suffix.lower() in (".npz", ".npy"):
        return Arrays(path=path, **settings)
    return _by_name(text, path, settings)


def _by_name(text: str, path: Path, settings: dict[str, Any]) -> Data:
    if text.lower() == "digits":
        return Digits(**settings)
    from goodfit.data.torchvision_set import SETS, TorchvisionSet

    word = text.lower().replace("-", "").replace("_", "")
    if word in SETS:
        return TorchvisionSet(dataset=word, **settings)
    close = get_close_matches(word, ["digits", *SETS], n=1)
    known = "a folder, a .csv, .tsv, .parquet or .npz file, .tar shards, hf:NAME, digits, "
    if path.is_file():
        raise DataError(
            "this file is not a data set",
            at=text,
            known=known + ", ".join(SETS),
            fix="name the folder that has one folder of images per class",
        )
    raise DataError(
        "there is no such data set",
        at=text,
        known=known + ", ".join(SETS),
        fix=f"write {close[0]!r}, or the path of a folder" if close else "correct the path",
    )


def _only_shards(folder: Path) -> bool:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return any(e.suffix == ".tar" for e in entries) and not any(e.is_dir() for e in entries)
