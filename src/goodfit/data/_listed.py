"""A list of image files with labels, and the Splits made of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from goodfit.data._assemble import Known, assemble
from goodfit.data._base import Data, Splits, check_broken
from goodfit.data._files import Files, Verify, same_content, sizes, verified
from goodfit.data.splitting import in_order


class Row(NamedTuple):
    """One image file of a data set."""

    name: str  # path from the root
    label: str
    part: str = ""
    group: str = ""


def file_splits(
    settings: Data, root: Path, rows: list[Row], *, verify: Verify, notes: list[str], origin: str
) -> Splits:
    """Splits of image files: looks at all of them, leaves out the broken, divides the rest."""
    looks, skipped = verified(root, [row.name for row in rows], verify)
    check_broken(skipped, len(rows), settings.max_broken, origin)
    kept = [(row, seen) for row, seen in zip(rows, looks, strict=True) if not seen.reason]
    rows, looks = [row for row, _ in kept], [seen for _, seen in kept]
    classes = in_order({row.label for row in rows})
    place = {name: k for k, name in enumerate(classes)}
    labels = np.array([place[row.label] for row in rows], np.int64)
    marks = [seen.mark for seen in looks]
    files = Files(root, [row.name for row in rows], labels, classes, marks)
    seen = sizes(files)
    channels = settings.channels or (1 if seen.gray else 3)
    groups = [row.group for row in rows]
    known = Known(
        part=[row.part for row in rows],
        content=same_content(root, files.names, marks),
        group=groups if any(groups) else None,
        skipped=skipped,
        notes=notes,
        median=seen.median,
        alike=seen.alike,
        channels=channels,
    )
    return assemble(settings, files.seen_as(channels), known, origin)
