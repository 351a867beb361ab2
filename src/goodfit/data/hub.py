"""A data set of the Hugging Face hub, or local files in its layout; extra `hub`.

    goodfit train hf:ylecun/mnist            goodfit train hf:./my-parquet-folder

The image column is the first of type Image, the label column the first of type ClassLabel, or as
set. Images stay encoded as they are stored and are decoded like any other file. Duplicates are
looked for in up to 20,000 images, since every image has to be read for it.

At test time the set's own `test` split is used once; it never chooses anything.

Source: https://huggingface.co/docs/datasets.
"""

from typing import Any

import numpy as np

from goodfit.data._assemble import PART_NAMES, Known, assemble
from goodfit.data._base import Data, Splits, digest
from goodfit.data._blobs import Blobs
from goodfit.data._files import sizes
from goodfit.data.splitting import by_name
from goodfit.errors import DataError, MissingExtraError

_HASHED = 20_000


class Hub(Data):
    """repository: `owner/name`, or a local path; subset: its configuration, if it has several."""

    repository: str
    subset: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None

    def __call__(self) -> Splits:
        found = self._opened()
        first = next(iter(found.values()))
        image = self.image_column or _of_type(first, "Image", "image_column")
        label = self.label_column or _of_type(first, "ClassLabel", "label_column")
        tables = [table.cast_column(image, _undecoded()) for table in found.values()]
        names = getattr(first.features[label], "names", None)
        labels, classes = by_name(
            [np.asarray(table[label]) for table in tables],
            None if names is None else tuple(names),
            self.repository,
        )
        starts = np.cumsum([0, *map(len, tables)])

        def fetch(place: int) -> bytes:
            which = int(np.searchsorted(starts, place, side="right")) - 1
            return _bytes(tables[which][place - int(starts[which])][image])

        keys = [f"{part}/{i}" for part, table in found.items() for i in range(len(table))]
        mark = ",".join(table._fingerprint for table in found.values())
        source = Blobs(fetch, labels, classes, keys, mark)
        seen = sizes(source)
        channels = self.channels or (1 if seen.gray else 3)
        groups = None
        if self.group_column is not None:
            groups = [str(g) for table in found.values() for g in table[self.group_column]]
        known = Known(
            part=[part for part, table in found.items() for _ in range(len(table))],
            content=content_of(source),
            group=groups,
            median=seen.median,
            alike=seen.alike,
            channels=channels,
        )
        return assemble(self, source.seen_as(channels), known, f"hf:{self.repository}")

    def _opened(self) -> dict[str, Any]:
        """The set's tables by split."""
        try:
            import datasets
        except ImportError:
            raise MissingExtraError("hub", "reading a data set of the hub") from None
        try:
            tables = datasets.load_dataset(self.repository, self.subset)
        except Exception as error:  # the library raises its own, and those of its many layers
            raise DataError(
                "the data set cannot be opened",
                at=f"hf:{self.repository}",
                seen=(str(error).splitlines() or [type(error).__name__])[0],
                fix="check the name and the connection; name the configuration with `subset`",
            ) from None
        parts = {PART_NAMES[n.lower()]: t for n, t in tables.items() if n.lower() in PART_NAMES}
        if "train" not in parts:
            raise DataError(
                "the data set has no training split",
                at=f"hf:{self.repository}",
                splits=", ".join(tables),
                fix="choose a data set with a split called train",
            )
        return parts


def content_of(source: Blobs) -> list[str | None]:
    """A key for each image, equal for equal bytes; unknown for very large sets."""
    if len(source) > _HASHED:
        return [None] * len(source)
    return [digest(source.encoded(i)) for i in range(len(source))]


def _undecoded() -> Any:
    import datasets

    return datasets.Image(decode=False)


def _bytes(cell: Any) -> bytes:
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    with open(cell["path"], "rb") as file:
        return file.read()


def _of_type(table: Any, kind: str, setting: str) -> str:
    """The first column of a type; for labels also one that is called label."""
    for name, feature in table.features.items():
        if type(feature).__name__ == kind or (kind == "ClassLabel" and name == "label"):
            return str(name)
    raise DataError(
        f"no column is of type {kind}",
        columns=", ".join(table.features),
        fix=f"set `{setting}` to one of these columns",
    )
