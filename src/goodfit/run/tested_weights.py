"""The weights that are tested: the last ones, or an average along the run.

EMA and SWA average outside the optimizer; Lookahead and schedule-free keep other weights for
testing inside. Batch norm's statistics belong to the weights they were taken with, so where these
change, the statistics are recomputed on training images.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.data.loader import Loader
from goodfit.optim.averages import EMA, SWA, recompute_batch_norm
from goodfit.recipe.recipe import Train

_BATCHES = 16  # whose images give the statistics


class TestedWeights:
    """Follows a model through training and lends its tested weights for the time of a `with`."""

    def __init__(
        self, train: Train, steps: int, model: nn.Module, optimizer: Optimizer, loader: Loader
    ) -> None:
        self.model, self.optimizer, self.loader = model, optimizer, loader
        self.average, self.start = average_of(train, steps)

    def after(self, step: int) -> None:
        """Take the weights after an update in."""
        if self.average is not None and step > self.start:
            self.average.update(self.model)

    @contextmanager
    def lent(self) -> Iterator[nn.Module]:
        """The model as it is tested; afterwards as it was."""
        optimizer: Any = self.optimizer
        if self.average is not None and self.average.count:
            self._settle()
            with self.average.swapped(self.model):
                yield self.model
        elif hasattr(optimizer, "swapped"):
            with optimizer.swapped(), self._own_statistics():
                yield self.model
        else:
            yield self.model

    @contextmanager
    def for_good(self) -> Iterator[nn.Module]:
        """At the end of the run: the average stays in the model."""
        if self.average is not None:
            self._settle()
            self.average.apply_to(self.model)
            self.average = None
        with self.lent() as model:
            yield model

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict() if self.average is not None else {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        if self.average is not None:
            self.average.load_state_dict(state)
            self.average.to(device)

    def _settle(self) -> None:
        """An even average has no batch norm statistics of its own: compute them."""
        if isinstance(self.average, SWA):
            self.average.settle(self.model, self._images())

    @contextmanager
    def _own_statistics(self) -> Iterator[None]:
        kept = {name: t.clone() for name, t in self.model.named_buffers()}
        recompute_batch_norm(self.model, self._images())
        try:
            yield
        finally:
            for name, t in self.model.named_buffers():
                t.copy_(kept[name])

    def _images(self) -> list[Tensor]:
        """Training images of some batches, as they are stored."""
        place = self.loader.epoch, self.loader.batch
        batches = zip(range(_BATCHES), self.loader.at(0, 0), strict=False)
        some = [batch.images for _, batch in batches]
        self.loader.at(*place)
        return some


def average_of(train: Train, steps: int) -> tuple[EMA | SWA | None, int]:
    """The average of weights that the recipe asks for, and the step after which it begins."""
    if train.ema:
        return EMA(train.ema), 0
    if train.swa:
        return SWA(), min(steps - 1, ceil(steps * (1 - train.swa)))
    return None, 0
