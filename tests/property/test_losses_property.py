"""Interpolation for any batch size, number of classes and number of mixings."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from goodfit.batch import Batch
from goodfit.ingredient import find, names
from goodfit.losses import Loss
from goodfit.losses.interpolate import interpolated


def squared_margin(logits: Tensor, classes: Tensor) -> Tensor:
    return F.multi_margin_loss(logits, classes, p=2)


def brier(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.softmax(1) - targets).square().sum(1).mean()


LOSSES = [*(find(Loss, kind)() for kind in names(Loss)), squared_margin, brier, nn.SmoothL1Loss()]


def mixed(n: int, k: int, mixes: int, seed: int) -> tuple[Tensor, Batch]:
    draw = torch.Generator().manual_seed(seed)
    targets = F.one_hot(torch.randint(k, (n,), generator=draw), k).float()
    batch = Batch(torch.rand(n, 1, 1, 1, generator=draw), targets, torch.arange(n))
    for _ in range(mixes):
        partner = torch.randint(n, (n,), generator=draw)
        batch = batch.mixed(batch.images, torch.rand(n, generator=draw), partner)
    return 2 * torch.randn(n, k, generator=draw), batch


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: getattr(f, "__name__", type(f).__name__))
@given(n=st.integers(1, 9), k=st.integers(1, 6), mixes=st.integers(0, 2), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_loss_of_a_batch_is_the_mean_over_its_samples(loss, n, k, mixes, seed):
    """Whatever is mixed: cutting the batch into its samples changes nothing."""
    logits, batch = mixed(n, k, mixes, seed)
    rows = []
    for i in range(n):
        one = slice(i, i + 1)
        parts = tuple(type(p)(p.weight[one], p.targets[one]) for p in batch.parts)
        alone = Batch(batch.images[one], batch.targets[one], batch.index[one], 0, parts)
        rows.append(interpolated(loss, logits[one], alone))
    whole = interpolated(loss, logits, batch)
    torch.testing.assert_close(whole, torch.stack(rows).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda f: getattr(f, "__name__", type(f).__name__))
@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_mixing_an_image_with_itself_changes_nothing(loss, seed):
    logits, batch = mixed(5, 4, 0, seed)
    weight = torch.rand(5, generator=torch.Generator().manual_seed(seed))
    same = batch.mixed(batch.images, weight, torch.arange(5))
    before, after = interpolated(loss, logits, batch), interpolated(loss, logits, same)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
