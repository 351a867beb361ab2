"""Plain classifiers see the class in images, signals, sets of points and sentences alike."""

import pytest
import torch
from torch import Tensor

from goodfit.check.probes.features import like_words, words
from goodfit.check.probes.learnable import Learnable, learnable
from goodfit.check.probes.samples import Samples, Side
from goodfit.check.rules.train_val_leak import rich

N, CLASSES = 600, 4


def labels() -> Tensor:
    return torch.arange(N) % CLASSES


def judged(x: Tensor, y: Tensor) -> Learnable:
    found = learnable(Samples(Side(x, y, y, torch.arange(N) // 50)))
    assert found is not None
    return found


def points(random: torch.Generator) -> Tensor:
    """Rings of four radii, the points in any order."""
    angle = 6.283 * torch.rand(N, 24, generator=random)
    radius = (0.5 + 0.3 * labels())[:, None]
    ring = torch.stack([radius * angle.cos(), radius * angle.sin()], 2)
    return ring + 0.05 * torch.randn(N, 24, 2, generator=random)


def signal(random: torch.Generator) -> Tensor:
    """Tones of four frequencies with any phase."""
    time, phase = torch.linspace(0, 1, 48), torch.rand(N, 1, generator=random)
    wave = (6.283 * ((3 + 3 * labels())[:, None] * time + phase)).sin()
    return (wave + 0.2 * torch.randn(N, 48, generator=random))[:, None]


def sentence(random: torch.Generator) -> Tensor:
    """One of four ordered pairs of words somewhere among others."""
    x = torch.randint(5, 24, (N, 12), generator=random)
    pairs = torch.tensor([[1, 2], [2, 1], [3, 4], [4, 3]])[labels()]
    at = torch.randint(11, (N,), generator=random)
    x[torch.arange(N), at], x[torch.arange(N), at + 1] = pairs[:, 0], pairs[:, 1]
    return x.float()


@pytest.mark.parametrize("make", [points, signal, sentence])
def test_the_class_is_seen_and_shuffled_labels_are_not(make):
    random = torch.Generator().manual_seed(0)
    x = make(random)
    assert judged(x, labels()).train > 0.6
    shuffled = labels()[torch.randperm(N, generator=random)]
    assert not judged(x, shuffled).informed


def test_only_rows_of_few_whole_numbers_are_read_as_words():
    random = torch.Generator().manual_seed(0)
    assert like_words(sentence(random))
    assert not like_words(torch.randn(N, 12, generator=random))
    assert not like_words(torch.randint(0, 2, (N, 12), generator=random).float())
    counts = words(torch.tensor([[1.0, 2.0, 1.0, 2.0]]))
    assert counts.sum() == 4 + 3
    assert counts.max() == 2


def test_masks_that_all_differ_in_many_places_are_never_equal_by_nature():
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 2, (200, 1, 12, 12), generator=random).float()
    assert rich(noise)
    assert rich(torch.cat([noise, noise]))  # that some come twice does not matter
    few = torch.zeros(200, 64)
    few[:, :8] = torch.randint(0, 2, (200, 8), generator=random).float()
    assert not rich(few)
