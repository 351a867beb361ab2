"""Test-time views against torchvision and a published implementation's arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from goodfit.batch import Batch
from goodfit.predict import predict
from goodfit.predict.views import VIEWS


@pytest.fixture
def batch() -> Batch:
    images = torch.rand(3, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.eye(3), torch.arange(3))


def test_ten_crops_are_those_of_torchvision(batch):
    ours = VIEWS["ten-crop"](batch, 32)
    assert [weight for weight, _ in ours] == [0.1] * 10
    theirs = v2.TenCrop(32)(batch.images)
    unmatched = [view.images for _, view in ours]
    for crop in theirs:  # theirs come in another order
        place = next(i for i, mine in enumerate(unmatched) if torch.equal(mine, crop))
        unmatched.pop(place)
    assert unmatched == []


def test_center_is_the_crop_of_torchvision(batch):
    [(_, view)] = VIEWS["center"](batch, 32)
    assert torch.equal(view.images, v2.CenterCrop(32)(batch.images))


def test_scales_are_the_antialiased_ones_of_torchvision(batch):
    for (_, view), side in zip(VIEWS["five-scale"](batch, 28), (28, 32, 48, 60, 80), strict=True):
        theirs = v2.Resize(side, antialias=True)(batch.images)
        # torchvision rounds the long side down, we to the nearest
        assert view.images.shape[-2] == side
        assert abs(view.images.shape[-1] - theirs.shape[-1]) <= 1
        exact = v2.Resize(view.images.shape[-2:], antialias=True)(batch.images)
        torch.testing.assert_close(view.images, exact)


def test_shift_and_flip_weigh_like_the_speedrun_of_cifar(batch):
    """airbench: half from the image and its mirror, a quarter from each padded-and-cut pair."""

    def net(x: Tensor) -> Tensor:
        return x[:, :, 3:9, 7:13].amax((2, 3)) * 3

    def mirrored(x: Tensor) -> Tensor:
        return 0.5 * net(x) + 0.5 * net(x.flip(-1))

    x = batch.images
    padded = F.pad(x, (1,) * 4, "reflect")
    h, w = x.shape[-2:]
    moved = [padded[:, :, :h, :w], padded[:, :, 2:, 2:]]
    logits = 0.5 * mirrored(x) + 0.25 * sum(map(mirrored, moved))
    expected = logits.softmax(1)  # the mean of logits; our geometric mean normalizes the same
    got = predict(net, batch, views="shift*flip", average="logits")
    torch.testing.assert_close(got, expected)
