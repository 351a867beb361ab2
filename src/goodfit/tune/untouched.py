"""Try something on copies, and leave no trace: weights, states, random numbers, place in the data.

Whatever happens inside `untouched`, also an exception, torch's generators on all devices, Python's
and numpy's are afterwards as they were, and the loader stands where it stood. Models and
optimizers are not restored but copied, together, so that the copied optimizer moves the copied
weights; the originals are never written to.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer


@contextmanager
def untouched(*loaders: Any) -> Iterator[None]:
    """Restores all random states, and the place of loaders that have one."""
    places = [(loader, loader.epoch, loader.batch) for loader in loaders if hasattr(loader, "at")]
    python, numbers = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        for loader, epoch, batch in places:
            loader.at(epoch, batch)


def copied(model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """A model and the optimizer of its weights, both new."""
    return copy.deepcopy((model, optimizer))
