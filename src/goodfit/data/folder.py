"""A folder of images, one folder per class, with or without train, val and test above them.

    photos/ants/1.jpg  photos/bees/2.png ...           divided by us
    photos/train/ants/1.jpg  photos/val/ants/2.jpg ... used as it is; `valid`, `validation`, `test`

A class is the name of its folder; images may lie deeper in it. Classes are matched by name
between the splits. Empty class folders, hidden files and files that are no images by their
suffix are passed over. Unreadable images are listed with the reason and skipped, up to
`max_broken` of all.

At test time the images of `test` are used once; they never choose anything.

>>> from goodfit.data.folder import Folder
>>> Folder(path="photos", val=0.2).val
0.2
"""

import os
from pathlib import Path

from goodfit.data._assemble import PART_NAMES
from goodfit.data._base import Data, Splits
from goodfit.data._files import SUFFIXES, Verify, pictures
from goodfit.data._listed import Row, file_splits
from goodfit.errors import DataError


class Folder(Data):
    """verify: "all" decodes every image at start, "quick" none but suspicious ones."""

    path: Path
    verify: Verify = "auto"

    def __call__(self) -> Splits:
        root = unwrapped(existing(self.path))
        rows, empty = _rows(root)
        notes = [f"{len(empty)} empty class folders: {', '.join(empty[:5])}"] if empty else []
        return file_splits(self, root, rows, verify=self.verify, notes=notes, origin=str(self.path))


def existing(path: Path) -> Path:
    """The folder, or a DataError that says what is there instead."""
    path = path.expanduser()
    if path.is_dir():
        return path.absolute()
    if path.exists():
        raise DataError(
            "this is a file, not a folder", at=str(path), fix="name the folder that has the images"
        )
    beside = sorted(p.name for p in path.parent.iterdir())[:10] if path.parent.is_dir() else []
    raise DataError(
        "there is no such folder",
        at=str(path),
        beside=", ".join(beside) or "-",
        fix="correct the path",
    )


def unwrapped(root: Path) -> Path:
    """The folder itself, or the one within it if that is all there is, as archives unpack."""
    while True:
        folders, images = _content(root)
        if images or len(folders) != 1 or not _content(root / folders[0])[0]:
            return root
        root = root / folders[0]


def _content(folder: Path) -> tuple[list[str], bool]:
    """Names of the folders in a folder, sorted, and whether it has files that are images."""
    try:
        visible = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            "a folder cannot be read",
            at=str(folder),
            seen=str(error.strerror),
            fix="allow reading it",
        ) from None
    folders = sorted(entry.name for entry in visible if Path(entry.path).is_dir())
    suffixes = {os.path.splitext(entry.name)[1].lower() for entry in visible if entry.is_file()}
    return folders, not suffixes.isdisjoint(SUFFIXES)


def _rows(root: Path) -> tuple[list[Row], list[str]]:
    """All images below the root, and the names of the empty class folders."""
    folders, _ = _content(root)
    parts = {name: PART_NAMES[name.lower()] for name in folders if name.lower() in PART_NAMES}
    split = "train" in parts.values() and (len(set(parts.values())) > 1 or len(folders) == 1)
    given = {root / name: part for name, part in parts.items()} if split else {root: ""}
    rows, empty = [], []
    for top, part in given.items():
        for label in _content(top)[0]:
            names = pictures(top / label, root)
            rows += [Row(name, label, part) for name in names]
            if not names:
                empty.append(label)
    if not rows:
        _complain(root)
    return rows, empty


def _complain(root: Path) -> None:
    folders, images = _content(root)
    if images:
        raise DataError(
            "the images are not sorted into classes",
            at=str(root),
            fix="make one folder per class for its images, or give a CSV of path and label",
        )
    raise DataError(
        "there are no images in this folder",
        at=str(root),
        seen=f"{len(folders)} folders, none with image files" if folders else "an empty folder",
        fix="name a folder that has one folder of images per class",
    )
