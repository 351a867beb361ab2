"""Take some batches of the user's, in bounded time and memory, as (x, y)."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)

from goodfit.batch import Batch, as_float
from goodfit.check.program import Part
from goodfit.check.work import samples_in
from goodfit.errors import DataError

BYTES = 192 * 2**20
IMAGES = 4096


def taken(
    batches: Iterable[Any], device: torch.device, *, seconds: float = 4.0, images: int = IMAGES
) -> Part:
    """The first batches, until `images` samples, 192 MiB or `seconds` are reached."""
    kept: list[tuple[Any, Any]] = []
    start, count, size, complete = time.monotonic(), 0, 0, True
    for batch in batches:
        x, y = pair(batch, device)
        kept.append((x, y))
        count, size = count + (samples_in(x) or len(x)), size + _bytes(x)
        late = time.monotonic() - start > seconds and len(kept) >= 2
        if count >= images or size >= BYTES or late:
            complete = _length(batches) == len(kept)
            break
    if not kept:
        raise DataError("there are no batches", fix="pass batches of (images, targets)")
    return Part(kept, complete, _draws(batches))


def spread(batches: Iterable[Any], images: int) -> Iterable[Any]:
    """The same samples thinned out evenly, where the first `images` would not stand for all.

    Validation sets are often sorted by class and read in order. A DataLoader over an indexable
    data set is thinned by samples, a sequence of batches by batches; others stay as they are.
    """
    if isinstance(batches, DataLoader) and isinstance(batches.sampler, SequentialSampler):
        dataset: Any = batches.dataset
        count = _length(dataset)
        if count <= images or batches.batch_size is None:
            return batches
        places = np.linspace(0, count - 1, images).round().astype(int).tolist()
        return DataLoader(
            Subset(dataset, places), batches.batch_size, collate_fn=batches.collate_fn
        )
    if isinstance(batches, Sequence) and batches and isinstance(batches[0], (tuple, list)):
        each = max(1, _length(batches[0][0]))
        wanted = max(1, images // each)
        if len(batches) > wanted:
            places = np.linspace(0, len(batches) - 1, wanted).round().astype(int).tolist()
            return [batches[place] for place in places]
    return batches


def pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    """(x, y) of whatever a loader yields."""
    if isinstance(batch, Batch):
        return as_float(batch.images).to(device), batch.targets.to(device)
    if isinstance(batch, dict):
        keys = list(batch)
        x = next(
            (batch[k] for k in ("images", "image", "pixel_values", "x", "input") if k in batch),
            None,
        )
        y = next(
            (batch[k] for k in ("targets", "target", "labels", "label", "y") if k in batch), None
        )
        x, y = (batch[keys[0]] if x is None else x), (batch[keys[-1]] if y is None else y)
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        x, y = batch[0], batch[1]
    else:
        raise DataError(
            f"a batch is a {type(batch).__name__}, not (images, targets)",
            fix="let the loader yield (images, targets)",
        )
    return _tensor(x, device), _tensor(y, device)


def _tensor(value: Any, device: torch.device) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (int, float)):
        value = torch.tensor(value)
    return value.detach().to(device) if isinstance(value, Tensor) else value


def _bytes(x: Any) -> int:
    if isinstance(x, dict):
        return sum(map(_bytes, x.values()))
    return x.numel() * x.element_size() if isinstance(x, Tensor) else 0


def _length(batches: Any) -> int:
    try:
        return len(batches)
    except TypeError:
        return -1


def _draws(batches: Any) -> bool:
    """Whether samples are drawn with replacement, so that some come twice."""
    if isinstance(batches, DataLoader):
        sampler = batches.sampler
        if isinstance(sampler, WeightedRandomSampler):
            return sampler.replacement
        return isinstance(sampler, RandomSampler) and sampler.replacement
    return _length(batches) < 0
