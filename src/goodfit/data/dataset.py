"""A map-style torch Dataset of one's own, or one for each split; in Python only.

Items are (image, label), see goodfit.data.adapted. Classes are matched by name. Duplicates are
looked for in up to 20,000 images, since every image has to be read for it.

At test time the dataset given as `held_out` is used once; it never chooses anything.
"""

from typing import Any

import numpy as np
from pydantic import Field
from torch.utils.data import ConcatDataset

from goodfit.data._assemble import Known, assemble
from goodfit.data._base import Data, Splits, digest
from goodfit.data.adapted import Adapted

_SAMPLE = 50
_HASHED = 20_000


class Dataset(Data):
    """train: any Dataset with classes; validation, held_out: further ones, if there are."""

    train: Any = Field(repr=False)
    validation: Any = Field(default=None, repr=False)
    held_out: Any = Field(default=None, repr=False)

    def __call__(self) -> Splits:
        given = {"train": self.train, "val": self.validation, "test": self.held_out}
        found = {part: dataset for part, dataset in given.items() if dataset is not None}
        return dataset_splits(self, found, type(self.train).__name__)


def dataset_splits(settings: Data, found: dict[str, Any], origin: str) -> Splits:
    """Splits of torch Datasets, one for each part."""
    sources = [Adapted(dataset) for dataset in found.values()]
    classes = tuple(dict.fromkeys(name for source in sources for name in source.classes))
    labels = [
        np.array([classes.index(name) for name in source.classes])[source.labels]
        for source in sources
    ]
    whole = Adapted(
        ConcatDataset(list(found.values())),
        classes=classes,
        labels=np.concatenate(labels),
        channels=settings.channels or max(source.channels for source in sources),
    )
    few = range(0, len(whole), max(1, len(whole) // _SAMPLE))
    shapes = np.array([whole[i][0].shape[1:] for i in few]).reshape(-1, 2)
    height, width = np.median(shapes, axis=0).round().astype(int).tolist() if len(few) else (1, 1)
    notes = [] if len(whole) <= _HASHED else ["too many images to look for duplicates"]
    known = Known(
        part=[
            part for part, source in zip(found, sources, strict=True) for _ in range(len(source))
        ],
        content=_content(whole),
        notes=notes,
        median=(height, width),
        alike=bool(len(few)) and bool((shapes == shapes[0]).all()),
        channels=whole.channels,
    )
    return assemble(settings, whole, known, origin)


def _content(source: Adapted) -> list[str | None]:
    """A key for each image, equal for equal pixels."""
    if len(source) > _HASHED:
        return [None] * len(source)
    images = (source[i][0] for i in range(len(source)))
    return [digest(str(image.shape).encode(), image.contiguous().numpy().data) for image in images]
