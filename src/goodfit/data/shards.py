"""WebDataset shards: .tar files in which `name.jpg` and `name.cls` (or .json, .txt) are a pair.

    goodfit train 'shards/train-*.tar'

The tar files are not streamed: their tables of contents are read once, and then every image is
read from its own place. So shuffling is complete, splits are exact, and a run resumes anywhere,
as with a folder. Labels are the text of `.cls` or `.txt`, or `label`, `cls` or `class` in `.json`;
`classes` names numbers. Shards with val or test in their file names are those splits. Remote
shards have to be copied to a disk first.

At test time the shards of `test` are used once; they never choose anything.

Source: https://github.com/webdataset/webdataset, its file format.
"""

import glob
import json
import os
import re
import tarfile
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from goodfit.data._assemble import PART_NAMES, Known, assemble
from goodfit.data._base import Data, Splits, digest
from goodfit.data._blobs import Blobs
from goodfit.data._files import SUFFIXES, sizes
from goodfit.data.splitting import by_name
from goodfit.errors import DataError

_LABELS = (".cls", ".txt", ".json")
_open = threading.local()


class Shards(Data):
    """path: a folder of .tar files, one of them, or a pattern with * or {000..099}."""

    path: str
    classes: tuple[str, ...] | None = None

    def __call__(self) -> Splits:
        origin = self.path
        shards = _matching(origin)
        entries = [entry for number, shard in enumerate(shards) for entry in _index(shard, number)]
        if not entries:
            raise DataError(
                "the shards have no labeled images",
                at=origin,
                shards=len(shards),
                fix="pack each image with its label: name.jpg and name.cls",
            )
        parts = [_part(shards[entry.shard]) for entry in entries]
        texts = [entry.label for entry in entries]
        numbers = all(text.isdecimal() for text in texts)
        labels, classes = by_name(
            [np.array([int(t) for t in texts] if numbers else texts)], self.classes, origin
        )
        spans = np.array([(e.shard, e.start, e.size) for e in entries], np.int64)
        paths = [str(shard) for shard in shards]

        def fetch(place: int) -> bytes:
            shard, start, size = spans[place].tolist()
            return _read(paths[shard], start, size)

        names = [f"{shards[e.shard].name}:{e.name}" for e in entries]
        mark = digest("\n".join(names).encode(), spans.tobytes())
        source = Blobs(fetch, labels, classes, names, mark)
        seen = sizes(source)
        channels = self.channels or (1 if seen.gray else 3)
        known = Known(
            part=parts,
            content=_content(source, spans[:, 2]),
            median=seen.median,
            alike=seen.alike,
            channels=channels,
        )
        return assemble(self, source.seen_as(channels), known, origin)


class _Entry(NamedTuple):
    """One image in a shard, and its label as text."""

    shard: int
    start: int
    size: int
    name: str
    label: str


def _matching(pattern: str) -> list[Path]:
    if "://" in pattern or pattern.startswith("pipe:"):
        raise DataError(
            "remote shards cannot be read directly", at=pattern, fix="copy them to a disk first"
        )
    pattern = os.path.expanduser(pattern)
    if os.path.isdir(pattern):
        pattern = os.path.join(glob.escape(pattern), "*.tar")
    span = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    names = [pattern]
    if span:
        low, high = span.groups()
        numbers = (str(i).zfill(len(low)) for i in range(int(low), int(high) + 1))
        names = [pattern[: span.start()] + n + pattern[span.end() :] for n in numbers]
    found = [Path(path) for name in names for path in sorted(glob.glob(name) or [name])]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise DataError(
            "there is no such shard", at=str(missing[0]), fix="correct the path or the pattern"
        )
    return found


def _index(shard: Path, number: int) -> list[_Entry]:
    """The labeled images of one shard, from its headers; only labels are read."""
    images: dict[str, tuple[int, int, str]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key, suffix = f"{folder}/{stem}", f".{suffix.lower()}"
                if not member.isfile():
                    continue
                if suffix in SUFFIXES:
                    images[key] = (member.offset_data, member.size, member.name)
                elif suffix in _LABELS:
                    file = archive.extractfile(member)
                    label = _label(file.read() if file else b"", suffix)
                    if label:
                        labels[key] = label
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise DataError(
            "a shard cannot be read", at=str(shard), seen=str(error), fix="copy or pack it again"
        ) from None
    return [_Entry(number, *images[key], labels[key]) for key in images if key in labels]


def _label(content: bytes, suffix: str) -> str:
    if suffix != ".json":
        return content.decode().strip()
    try:
        record = json.loads(content)
    except ValueError:
        return ""
    return next((str(record[k]) for k in ("label", "cls", "class") if k in record), "")


def _part(shard: Path) -> str:
    words = re.split(r"[^a-z]+", shard.name.lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "train")


def _read(path: str, start: int, size: int) -> bytes:
    """Part of a file, through a handle that this thread keeps open."""
    handles = getattr(_open, "handles", None)
    if handles is None:
        handles = _open.handles = {}
    if path not in handles:
        handles[path] = open(path, "rb", buffering=0)  # noqa: SIM115
    handles[path].seek(start)
    data: bytes = handles[path].read(size)
    return data


def _content(source: Blobs, lengths: np.ndarray) -> list[str | None]:
    """A key for each image, equal for equal bytes; only images of equal length are read."""
    _, place, often = np.unique(lengths, return_inverse=True, return_counts=True)
    doubtful = often[place] > 1
    return [digest(source.encoded(i)) if doubtful[i] else None for i in range(len(source))]
