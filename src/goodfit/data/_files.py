"""Image files: a source of them, and the look at every file that starts a run.

The first look opens each file once and reads its first and last 4 KiB: it finds what is empty,
forbidden, cut short or no image at all, and the files that may be duplicates. A file that ends
strangely is decoded to be sure; data sets of little total size are decoded whole (`verify`).
What is broken in the middle of a file of a large data set is found when it is decoded.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from goodfit.data._base import Encoded, Labels, Skipped, digest
from goodfit.data._headers import ends_well, format_of
from goodfit.data.decode import BrokenImageError, decode, is_gray, size_of
from goodfit.errors import DataError

_WORDS = "jpg jpeg jpe jfif png gif webp bmp dib tif tiff ppm pgm pbm pnm avif"
SUFFIXES = frozenset(f".{word}" for word in _WORDS.split())
Verify = Literal["auto", "all", "quick"]
NO_FILE = "a pipe or a device, not a file"
_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
_BLOCK = 4096
_TRIAL = 1000  # files whose first look is timed
_SMALL_BYTES, _SMALL_COUNT = 64 << 20, 4096  # up to this, verify = "auto" decodes at start
_PLACEHOLDER = re.compile(  # what downloads leave in place of an image that is gone
    r"(?:^|[/\\])(?:image|photo|picture)?[ _-]?"
    r"(?:placeholder|not[ _-]?(?:found|available)|unavailable|missing"
    r"|(?<![a-z])no[ _-]?(?:image|photo)(?:[ _-]?available)?)\.\w+$",
    re.IGNORECASE,
)
_SAMPLE = 400  # images whose headers tell the median size and whether there is color
_THUMB = (16, 16)
T = TypeVar("T")
R = TypeVar("R")


class Files:
    """Images in files, found by path relative to `root`. Holds the index, never pixels."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: Labels,
        classes: tuple[str, ...],
        marks: Sequence[bytes],
        channels: int = 3,
    ) -> None:
        self.root, self.names, self.classes, self.channels = root, names, classes, channels
        self.labels: Labels = np.asarray(labels, np.int64)
        self.marks = marks  # of each file: size and a hash of both its ends
        self._prefix = f"{root}{os.sep}"

    def __len__(self) -> int:
        return len(self.names)

    def encoded(self, index: int) -> bytes:
        """The bytes of one file."""
        try:
            with open(self._prefix + self.names[index], "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise BrokenImageError(error.strerror or str(error)) from None

    def __getitem__(self, index: int) -> tuple[UInt8[Tensor, "c h w"], int]:
        try:
            image = decode(self.encoded(index), self.channels)
        except BrokenImageError as error:
            raise DataError(
                "an image cannot be read",
                at=str(self.root / self.names[index]),
                seen=str(error),
                fix="mend or remove this file",
            ) from None
        return torch.from_numpy(image).permute(2, 0, 1), int(self.labels[index])

    def name(self, index: int) -> str:
        return self.names[index]

    def fingerprint(self) -> str:
        """Of names, classes, file sizes and the first and last 4 KiB of each file."""
        rows = zip(self.names, self.labels.tolist(), self.marks, strict=True)
        state = blake2b("\n".join(self.classes).encode(), digest_size=12)
        for name, label, mark in rows:
            state.update(
                f"\n{name}\t{self.classes[label]}\t".encode(errors="surrogateescape") + mark
            )
        return state.hexdigest()

    def take(self, places: Sequence[int] | Labels) -> Self:
        places = np.asarray(places, np.int64)
        return type(self)(
            self.root,
            [self.names[i] for i in places.tolist()],
            self.labels[places],
            self.classes,
            [self.marks[i] for i in places.tolist()],
            self.channels,
        )

    def seen_as(self, channels: int) -> Self:
        """The same files, decoded to another number of channels."""
        return type(self)(self.root, self.names, self.labels, self.classes, self.marks, channels)


class Look(NamedTuple):
    """What the first look saw of one file: its mark, or why it cannot be used."""

    mark: bytes
    size: int
    reason: str = ""
    odd: bool = False  # ends strangely


def threads() -> int:
    """As many as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[T], R], items: Sequence[T], chunk: int = 64) -> list[R]:
    """`work` on every item, in order, in threads; a few more than cores, since some wait."""
    if len(items) <= chunk:
        return [work(item) for item in items]
    parts = [items[i : i + chunk] for i in range(0, len(items), chunk)]
    with ThreadPoolExecutor(threads() + 2, "goodfit-look") as pool:
        done = pool.map(lambda part: [work(item) for item in part], parts)
        return [result for part in done for result in part]


def as_it_pays(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`work` on every item, in order: in threads if the first ones mostly waited for the disk.

    Where files are in memory already, threads would only wait for each other.
    """
    first, rest = items[:_TRIAL], items[_TRIAL:]
    before = _waits()
    done = [work(item) for item in first]
    if _waits() - before > len(first) / 4:
        return done + in_threads(work, rest)
    return done + [work(item) for item in rest]


def _waits() -> float:
    """How often this process has waited for a disk or the network; unknown on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def look(path: str) -> Look:
    """Open one file and judge it by both its ends."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Look(b"", 0, NO_FILE)
            size = status.st_size
            head = os.read(descriptor, _BLOCK)
            tail = head
            if size > _BLOCK:
                os.lseek(descriptor, max(_BLOCK, size - _BLOCK), os.SEEK_SET)
                tail = os.read(descriptor, _BLOCK)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Look(b"", 0, error.strerror or str(error))
    mark = blake2b(head + tail if size > _BLOCK else head, digest_size=8).digest()
    mark += size.to_bytes(6, "little")
    kind = format_of(head)
    if not size:
        return Look(mark, 0, "the file is empty")
    if kind is None:
        text = b"\0" not in head
        return Look(mark, size, "a text file, not an image" if text else "not an image format")
    if _PLACEHOLDER.search(path):
        return Look(mark, size, "by its name a placeholder for a missing image")
    return Look(mark, size, odd=not ends_well(kind, head, tail, size))


def verified(root: Path, names: Sequence[str], verify: Verify) -> tuple[list[Look], list[Skipped]]:
    """A look at each file, and the unusable ones."""
    looks = as_it_pays(look, [f"{root}{os.sep}{name}" for name in names])
    total = sum(seen.size for seen in looks)
    small = total <= _SMALL_BYTES and len(names) <= _SMALL_COUNT
    whole = verify == "all" or (verify == "auto" and small)
    doubtful = [i for i, seen in enumerate(looks) if not seen.reason and (whole or seen.odd)]
    for place, reason in zip(
        doubtful, in_threads(lambda i: why_broken(root / names[i]), doubtful, chunk=8), strict=True
    ):
        looks[place] = looks[place]._replace(reason=reason)
    return looks, [Skipped(names[i], seen.reason) for i, seen in enumerate(looks) if seen.reason]


def why_broken(path: Path) -> str:
    """Why a file cannot be decoded; empty if it can. JPEG is decoded small, but to its end."""
    try:
        decode(path.read_bytes(), 3, at_least=_THUMB)
    except (BrokenImageError, OSError) as error:
        return str(error)
    return ""


def same_content(root: Path, names: Sequence[str], marks: Sequence[bytes]) -> list[str | None]:
    """One key per file, equal for files of equal bytes, None for files that have no equal.

    Only files that agree in size and in both ends are read whole.
    """
    often = Counter(marks)
    doubtful = [i for i, mark in enumerate(marks) if often[mark] > 1]

    def content(place: int) -> str:
        size = int.from_bytes(marks[place][-6:], "little")
        if size <= 2 * _BLOCK:  # the mark has seen all of it
            return marks[place].hex()
        return digest((root / names[place]).read_bytes())

    keys: list[str | None] = [None] * len(names)
    for place, key in zip(doubtful, in_threads(content, doubtful), strict=True):
        keys[place] = key
    return keys


class Sizes(NamedTuple):
    median: tuple[int, int]
    alike: bool
    gray: bool


def sizes(files: Encoded) -> Sizes:
    """Median size and color, from the headers of some hundred files spread over all of them.

    Only if all of these are gray, all files are asked.
    """
    step = max(1, len(files) // _SAMPLE)
    seen = [s for s in in_threads(lambda i: _shape(files, i), range(0, len(files), step), 16) if s]
    if not seen:
        return Sizes((1, 1), False, False)
    shapes = np.array([shape for shape, _ in seen])
    gray = all(gray for _, gray in seen)
    if gray and step > 1:
        gray = all(
            s is None or s[1] for s in in_threads(lambda i: _shape(files, i), range(len(files)))
        )
    h, w = np.median(shapes, axis=0).round().astype(int).tolist()
    return Sizes((h, w), bool((shapes == shapes[0]).all()), gray)


def _shape(files: Encoded, index: int) -> tuple[tuple[int, int], bool] | None:
    try:
        data = files.encoded(index)
        return size_of(data), is_gray(data)
    except BrokenImageError:
        return None


def pictures(folder: Path, root: Path) -> Iterable[str]:
    """Paths of the image files in and below `folder`, relative to `root`, sorted.

    Hidden files and files with other suffixes are not image files; a file without any suffix is
    if its first bytes say so. Links are followed, but never in circles.
    """
    found: list[str] = []
    _walk(os.fspath(folder), len(os.fspath(root)) + 1, found, frozenset())
    return sorted(found)


def _walk(folder: str, cut: int, found: list[str], above: frozenset[tuple[int, int]]) -> None:
    try:
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    _walk(entry.path, cut, found, above | {here})
                elif is_picture(entry.path):
                    found.append(entry.path[cut:])
    except OSError as error:
        raise DataError(
            "a folder cannot be read",
            at=folder,
            seen=error.strerror or str(error),
            fix="allow reading it, or move it out of the data set",
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_picture(path: str) -> bool:
    """Whether a file counts as an image by its name, or without a suffix by its first bytes."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix:
        return suffix in SUFFIXES
    try:
        if not os.path.isfile(path):  # reading a pipe would wait for ever
            return False
        with open(path, "rb") as file:
            return format_of(file.read(16)) is not None
    except OSError:
        return False
