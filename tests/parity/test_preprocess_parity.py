"""Preprocessing against numpy, scikit-learn and torchvision."""

import numpy as np
import pytest
import torch
from sklearn import decomposition
from torch import Tensor
from torchvision.transforms.v2.functional import normalize

from goodfit.init.patch_whitening import whitening_filters
from goodfit.preprocess.channel_mean import ChannelMean
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.preprocess.mean_image import MeanImage
from goodfit.preprocess.pca import PCA
from goodfit.preprocess.pca_whiten import PCAWhiten
from goodfit.preprocess.zca import ZCA


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Correlated ones, so that axes are told apart."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(300, 3, 3, 3, generator=draw)
    fine = torch.nn.functional.interpolate(coarse, size=(6, 5), mode="bilinear")
    return ((0.9 * fine + 0.1 * torch.rand(300, 3, 6, 5, generator=draw)) * 255).byte()


@pytest.fixture(scope="module")
def flat(images) -> np.ndarray:
    return images.flatten(1).double().numpy() / 255


def test_channel_statistics_are_numpys(images):
    pixels = images.double().numpy() / 255
    fitted = ChannelStats().fitted(images)
    assert fitted.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-7)
    assert fitted.std == pytest.approx(pixels.std((0, 2, 3)), abs=1e-7)
    assert ChannelMean().fitted(images).mean == fitted.mean


def test_sums_are_exact_for_many_images():
    """Half a million bright pixels: float32 sums would be off in the fourth digit."""
    images = torch.full((600, 1, 32, 32), 253, dtype=torch.uint8)
    images[::2] = 255
    fitted = ChannelStats().fitted(images)
    assert fitted.mean[0] == pytest.approx(254 / 255, abs=1e-7)
    assert fitted.std[0] == pytest.approx(1 / 255, rel=1e-5)


@pytest.mark.parametrize("constants", ["own", "imagenet", "inception"])
def test_normalizing_is_torchvisions(images, constants):
    settings = ChannelStats(constants=constants).fitted(images)
    module = settings()
    mean, std = {
        "own": (settings.mean, settings.std),
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "inception": ((0.5,) * 3, (0.5,) * 3),
    }[constants]
    theirs = normalize(images / 255, list(mean), list(std))
    torch.testing.assert_close(module(images), theirs, rtol=1e-5, atol=1e-5)


def test_the_mean_image_is_numpys(images):
    pixels = images.double().numpy() / 255
    ours = MeanImage().fitted(images)()(images)
    np.testing.assert_allclose(ours.numpy(), pixels - pixels.mean(0), atol=2e-7)


def test_pca_is_sklearns_up_to_signs(images, flat):
    theirs = decomposition.PCA(n_components=20).fit(flat).transform(flat)
    ours = PCA(components=20).fitted(images)()(images)
    assert ours.shape == (300, 20, 1, 1)
    np.testing.assert_allclose(np.abs(ours.flatten(1).numpy()), np.abs(theirs), atol=1e-4)


def test_pca_whitening_is_sklearns_up_to_signs(images, flat):
    """sklearn divides by m - 1, and knows no eps."""
    theirs = decomposition.PCA(n_components=20, whiten=True).fit(flat).transform(flat)
    ours = PCAWhiten(components=20, eps=1e-12).fitted(images)()(images).flatten(1).numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs) * (300 / 299) ** 0.5, atol=2e-3)


@pytest.mark.parametrize("kind", [PCAWhiten, ZCA])
def test_whitening_leaves_the_covariance_that_eps_says(images, flat, kind):
    settings = kind(eps=1e-3).fitted(images)
    y = settings()(images).flatten(1).double().numpy()
    variances = np.linalg.eigvalsh(np.cov(flat.T, bias=True))
    after = np.linalg.eigvalsh(np.cov(y.T, bias=True))
    np.testing.assert_allclose(np.sort(after), np.sort(variances / (variances + 1e-3)), atol=1e-4)


def test_zca_is_the_inverse_root_of_the_covariance(images, flat):
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    matrix = vectors @ np.diag((values + 1e-3) ** -0.5) @ vectors.T
    ours = ZCA(eps=1e-3).fitted(images)()
    np.testing.assert_allclose(ours.matrix.numpy(), matrix, atol=1e-4)
    expected = (flat - flat.mean(0)) @ matrix.T
    np.testing.assert_allclose(ours(images).flatten(1).numpy(), expected, atol=1e-4)


def test_patches_are_white_after_their_filters(images):
    x = ChannelStats().fitted(images)()(images)
    x = x - x.mean((0, 2, 3), keepdim=True)
    filters = whitening_filters(x, 2, 1e-9)
    y = torch.nn.functional.conv2d(x, filters).permute(1, 0, 2, 3).flatten(1).double()
    torch.testing.assert_close(y @ y.T / y.shape[1], torch.eye(12).double(), rtol=0, atol=1e-3)
