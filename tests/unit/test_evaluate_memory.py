"""Testing a large set must not keep its images."""

import weakref
from typing import Any

import numpy as np
import torch
from torch import nn

from goodfit.batch import Batch
from goodfit.recipe.recipe import Recipe
from goodfit.run import evaluate
from goodfit.run.world import World


class Counting:
    """Twenty batches of eight images; how many batches' pixels are alive at most."""

    def __init__(self) -> None:
        self.most = 0
        self.alive: list[weakref.ref[Any]] = []

    def __iter__(self) -> Any:
        for number in range(20):
            pixels = np.full((8, 3, 8, 8), number, np.uint8)
            self.alive.append(weakref.ref(pixels))
            index = torch.arange(8 * number, 8 * number + 8)
            batch = Batch(torch.from_numpy(pixels), torch.eye(10)[index % 10], index)
            del pixels
            yield batch
            del batch
            self.most = max(self.most, sum(known() is not None for known in self.alive))


def test_images_are_let_go_once_they_are_predicted():
    loader: Any = Counting()
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    rows = evaluate.tested_rows(net, loader, Recipe(), World(torch.device("cpu")))
    assert rows.places.tolist() == list(range(160))
    assert rows.labels.tolist() == [n % 10 for n in range(160)]
    assert loader.most <= 3
