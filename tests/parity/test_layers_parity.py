"""Random layers against torch, torchvision, timm and plainly right slow loops."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import StochasticDepth as TorchvisionDepth

from goodfit.layers.alpha_dropout import AlphaDropout
from goodfit.layers.batch_norm import precise_batch_norm
from goodfit.layers.drop_connect import DropConnect
from goodfit.layers.dropout import Dropout
from goodfit.layers.fractional_max_pool import FractionalMaxPool2d, Regions
from goodfit.layers.stochastic_depth import StochasticDepth


@pytest.mark.parametrize("prob", [0.0, 0.2, 0.7])
def test_dropout_does_what_torch_does_with_the_same_mask(prob):
    x = torch.rand(8, 50) + 0.5
    torchs = F.dropout(x, prob, training=True)
    torch.testing.assert_close(Dropout(prob).given(x, torchs != 0), torchs)


@pytest.mark.parametrize("prob", [0.1, 0.5])
def test_alpha_dropout_does_what_torch_does_with_the_same_mask(prob):
    x = torch.rand(8, 50) + 0.5
    torchs = F.alpha_dropout(x, prob, training=True)
    torch.testing.assert_close(AlphaDropout(prob).given(x, torchs > 0), torchs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(64, 3), (64, 2, 3, 4)])
def test_stochastic_depth_does_what_torchvision_and_timm_do(shape):
    timm = pytest.importorskip("timm.layers")
    x, ours = torch.rand(shape) + 0.5, StochasticDepth(0.4)
    for theirs in (TorchvisionDepth(0.4, "row").train(), timm.DropPath(0.4).train()):
        y = theirs(x)
        torch.testing.assert_close(ours.given(x, y.flatten(1)[:, 0] != 0), y)


def test_dropconnect_is_one_sparse_linear_layer_per_image():
    layer, x = DropConnect(nn.Linear(6, 4), prob=0.25), torch.randn(5, 6)
    z = layer.draw(x)
    slow = [F.linear(x[i], z[i] * layer.linear.weight / 0.75, layer.linear.bias) for i in range(5)]
    torch.testing.assert_close(layer.given(x, z), torch.stack(slow))


def slow_pooling(x: torch.Tensor, z: Regions, overlapping: bool) -> torch.Tensor:
    images = []
    for image, rows, columns in zip(x, z.rows.tolist(), z.columns.tolist(), strict=True):
        y = [
            image[:, a : b + overlapping, c : d + overlapping].amax((1, 2))
            for a, b in pairwise(rows)
            for c, d in pairwise(columns)
        ]
        images.append(torch.stack(y, 1).view(-1, len(rows) - 1, len(columns) - 1))
    return torch.stack(images)


@pytest.mark.parametrize("law", ["random", "pseudorandom"])
@pytest.mark.parametrize("overlapping", [True, False])
def test_fractional_pooling_takes_the_largest_of_each_region(law, overlapping):
    torch.manual_seed(0)
    layer, x = FractionalMaxPool2d(1.3, law=law, overlapping=overlapping), torch.randn(4, 3, 9, 14)
    x.requires_grad_()
    z = layer.draw(x)
    fast, slow = layer.given(x, z), slow_pooling(x, z, overlapping)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn_like(fast)
    grads = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (fast, slow)]
    torch.testing.assert_close(*grads)


def test_pseudorandom_regions_are_those_of_the_formula():
    layer = FractionalMaxPool2d(overlapping=False)
    edges = layer.draw(torch.zeros(500, 1, 25, 25)).rows
    out, seen = layer.size(25), {tuple(row) for row in edges.tolist()}
    u = (torch.arange(2500, dtype=torch.float64) + 0.5) / 2500
    a = torch.ceil(25 / out * (torch.arange(out + 1) + u[:, None]))
    assert seen <= {tuple(row) for row in (a - a[:, :1]).int().tolist()}


def test_the_average_of_fractional_pooling_is_that_over_all_its_regions():
    layer, x = FractionalMaxPool2d().eval().double(), torch.randn(1, 2, 8, 7, dtype=torch.float64)
    every = []
    for r in range(7):
        for c in range(6):
            rows = torch.tensor(
                [[(7 * i + r) // layer.size(8) - r // layer.size(8) for i in range(6)]]
            )
            columns = torch.tensor(
                [[(6 * i + c) // layer.size(7) - c // layer.size(7) for i in range(5)]]
            )
            every.append(layer.given(x, Regions(rows, columns)))
    assert layer.size(8) == 5
    assert layer.size(7) == 4
    torch.testing.assert_close(layer(x), torch.stack(every).mean(0))


def test_precise_statistics_are_the_moments_of_all_batches_together():
    """Batches of different size: float64 moments of the concatenated inputs, to 1e-5."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2), nn.BatchNorm1d(2))
    batches = [3 * torch.randn(n, 3) + 5 for n in (4, 9, 30)]
    model[3].eval()
    assert precise_batch_norm(model, batches) == ("0", "3")
    together = torch.cat(batches)
    torch.testing.assert_close(model[0].running_mean, together.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model[0].running_var, together.var(0), rtol=1e-5, atol=1e-5)
    inner = torch.cat(
        [model[2](F.batch_norm(b, None, None, training=True)) for b in batches]
    )  # the first norm uses batch statistics, dropout is averaged
    torch.testing.assert_close(model[3].running_mean, inner.mean(0), rtol=1e-4, atol=1e-5)
    assert model.training
    assert not model[3].training
    assert model[0].num_batches_tracked == 0
