"""The law of every z, against closed forms. Fixed seeds; each check would fail by chance, for
another seed, with probability 1e-6 (about 4.9 standard errors, or a p-value of Kolmogorov and
Smirnov)."""

from math import log, sqrt
from statistics import NormalDist

import pytest
import torch
from scipy import stats

from goodfit.augment.alternating_flip import AlternatingFlip
from goodfit.augment.brightness import Brightness
from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.cutmix import CutMix
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.hue import Hue
from goodfit.augment.lens import Lens
from goodfit.augment.mixup import Mixup
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pca_lighting import PCALighting
from goodfit.augment.perspective import Perspective
from goodfit.augment.rand_augment import RandAugment
from goodfit.augment.random_crop import RandomCrop
from goodfit.augment.random_erasing import RandomErasing
from goodfit.augment.rotate import Rotate
from goodfit.augment.scale_jitter import ScaleJitter
from goodfit.augment.shear import Shear
from goodfit.augment.stretch import Stretch
from goodfit.augment.translate import Translate
from goodfit.augment.trivial_augment import TrivialAugment
from goodfit.batch import Batch
from goodfit.rand import Rng

FALSE_ALARM = 1e-6
N = 20_000


def many(h: int = 32, w: int = 32, n: int = N, epoch: int = 0) -> Batch:
    """A batch of n images that take no memory: draws look at their shape alone."""
    images = torch.zeros(1).expand(n, 3, h, w)
    return Batch(images, torch.zeros(n, 1), torch.arange(n), epoch)


def draw(change, batch: Batch):
    return change.draw(batch, Rng(0, change.name, batch))


def assert_law(values: torch.Tensor, law) -> None:
    """The values follow a continuous law of scipy's."""
    assert stats.kstest(values.double().numpy(), law.cdf).pvalue > FALSE_ALARM


def assert_uniform(values: torch.Tensor, low: float, high: float) -> None:
    assert_law(values, stats.uniform(low, high - low))


def assert_even(values: torch.Tensor, low: int, high: int) -> None:
    """Whole numbers low .. high, all equally frequent, by a chi-square test."""
    counts = torch.bincount(values.long() - low, minlength=high - low + 1)
    assert len(counts) == high - low + 1
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


def assert_mean(values: torch.Tensor, expected: float) -> None:
    values = values.double()
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / 2) * float(values.std()) / sqrt(len(values))
    assert abs(float(values.mean()) - expected) < bound


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0])
def test_mixup_keeps_a_beta_share(alpha):
    assert_law(draw(Mixup(alpha=alpha), many()).weight, stats.beta(alpha, alpha))


def test_mixup_leaves_the_prior_of_the_classes():
    batch = many()._replace(targets=torch.eye(10)[torch.arange(N) % 10])
    z = draw(Mixup(), batch)
    mixed = batch.mixed(batch.images, z.weight, z.partner)
    for k in range(10):
        assert_mean(mixed.targets[:, k], 0.1)


def test_partners_are_others_and_each_is_chosen_once():
    partner = draw(Mixup(), many(n=999)).partner
    assert sorted(partner.tolist()) == list(range(999))
    assert (partner != torch.arange(999)).all()


def test_cutmix_boxes_have_beta_areas_before_the_border_cuts_them():
    z = draw(CutMix(alpha=1.0), many(1000, 1000))
    high, wide = z.bottom - z.top, z.right - z.left
    inside = (z.top > 0) & (z.bottom < 1000) & (z.left > 0) & (z.right < 1000)
    assert (high[inside] == wide[inside]).all()
    expected = 0.0  # E of the cut area for sides √u and a uniform center: (s - s²/4)² averaged
    for u in torch.linspace(0.0005, 0.9995, 1000).tolist():
        side = sqrt(u)
        expected += (side - side**2 / 4) ** 2 / 1000
    assert_mean((high * wide) / 1e6, expected)


@pytest.mark.parametrize(("size", "side"), [(0.5, 32), (0.25, 32), (0.3, 28)])
def test_the_share_that_cutout_hides(size, side):
    hole = round(size * side)
    overlap = [
        min(center - hole // 2 + hole, side) - max(center - hole // 2, 0) for center in range(side)
    ]
    expected = (sum(overlap) / side**2) ** 2
    if (size, side) == (0.5, 32):
        assert expected == pytest.approx(0.191, abs=0.0005)  # the paper's setting
    batch = many(side, side, 4000)._replace(images=torch.ones(4000, 1, side, side))
    hidden = Cutout(size=size, fill=0.0)(batch, Rng(0, "cutout", batch)).images == 0
    assert_mean(hidden.float().mean((1, 2, 3)), expected)


def test_cutout_centers_are_uniform():
    z = draw(Cutout(), many(20, 30))
    assert_even(z.row, 0, 19)
    assert_even(z.col, 0, 29)


def test_flips_happen_at_their_rate():
    batch = many(1, 2)
    left = torch.zeros(N, 3, 1, 2)
    left[..., 0] = 1.0
    for prob in (0.5, 0.2):
        flip = Flip(prob=prob)
        result = flip(batch._replace(images=left), Rng(0, "flip", batch)).images
        assert_mean(result[:, 0, 0, 1], prob)


def test_alternating_flip_shows_each_side_in_every_second_epoch():
    flips = [draw(AlternatingFlip(), many(epoch=e)) for e in range(4)]
    assert_mean(flips[0].float(), 0.5)
    assert (flips[0] != flips[1]).all()
    assert torch.equal(flips[0], flips[2])
    assert torch.equal(flips[1], flips[3])


def test_random_crop_areas_and_ratios():
    z = draw(RandomCrop(area=(0.1, 0.5), ratio=(3 / 4, 4 / 3)), many(2000, 2000))  # all fit
    area = (z.height * z.width) / 2000**2
    assert_uniform(area, 0.1, 0.5)
    assert_uniform((z.width / z.height).log(), log(3 / 4), log(4 / 3))
    u = torch.rand(N, generator=torch.Generator().manual_seed(0))  # makes the steps continuous
    assert_uniform((z.top + u) / (2000 - z.height + 1), 0, 1)
    assert_uniform((z.left + u) / (2000 - z.width + 1), 0, 1)


def test_random_crop_windows_are_inside():
    for h, w in ((20, 90), (90, 20), (3, 3), (1, 1)):
        z = draw(RandomCrop(area=(0.01, 1.0)), many(h, w, 2000))
        assert z.height.min() >= 1
        assert z.width.min() >= 1
        assert z.top.min() >= 0
        assert z.left.min() >= 0
        assert (z.top + z.height).max() <= h
        assert (z.left + z.width).max() <= w


def test_scale_jitter_scales_uniformly_over_whole_sizes():
    z = draw(ScaleJitter(short=(256, 480), size=224), many(300, 400))
    assert_even((224 * 300 / z.side).round(), 256, 480)
    assert (z.top + z.side).max() <= 300
    assert (z.left + z.side).max() <= 400


def test_pad_and_crop_moves_uniformly():
    z = draw(PadAndCrop(pad_pixels=4), many())
    assert_even(z.top, -4, 4)
    assert_even(z.left, -4, 4)
    assert abs(float(torch.corrcoef(torch.stack(z).double())[0, 1])) < 4.9 / sqrt(N)


def test_erased_areas_and_ratios():
    z = draw(RandomErasing(area=(0.02, 0.2), ratio=(0.5, 2.0)), many(2000, 2000))
    high, wide = (z.bottom - z.top).float(), (z.right - z.left).float()
    assert_uniform(high * wide / 2000**2, 0.02, 0.2)
    assert_uniform((high / wide).log(), log(0.5), log(2.0))


def test_noise_is_uniform_over_the_levels():
    z = draw(RandomErasing(fill="noise"), many(8, 8, 200))
    assert_even(z.noise.flatten(), 0, 255)


def test_colors():
    z = draw(ColorJitter(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1), many())
    for values, low, high in zip(z, (0.6, 0.0, 0.8, -0.1), (1.4, 2.5, 1.2, 0.1), strict=True):
        assert_uniform(values, low, high)
    assert_uniform(draw(Brightness(strength=0.3), many()), 0.7, 1.3)
    assert_uniform(draw(Hue(turns=0.2), many()), -0.2, 0.2)


def test_light_is_normal_and_independent_along_the_axes():
    z = draw(PCALighting(std=0.1), many())
    for axis in z.T:
        assert_law(axis, stats.norm(0, 0.1))
    off = torch.corrcoef(z.T.double())[torch.triu_indices(3, 3, 1).unbind()]
    assert off.abs().max() < 4.9 / sqrt(N)


def test_angles_factors_corners_and_lenses():
    assert_uniform(draw(Rotate(max_degrees=20), many()), -20, 20)
    for part in draw(Shear(max_degrees=10), many()):
        assert_uniform(part, -10, 10)
    for part in draw(Stretch(max_factor=1.5), many()):
        assert_uniform(part.log(), -log(1.5), log(1.5))
    assert_uniform(draw(Perspective(distortion=0.4), many()).flatten(), 0, 0.2)
    lenses = draw(Lens(max_k1=0.2, max_k2=0.1, max_k3=0.05, max_tangential=0.03), many())
    for values, most in zip(lenses.T, (0.2, 0.1, 0.05, 0.03, 0.03), strict=True):
        assert_uniform(values, -most, most)


def test_translations_are_even():
    z = draw(Translate(max_shift=0.25), many(32, 20))
    assert_even(z.down, -8, 8)
    assert_even(z.right, -5, 5)


def test_policies_choose_evenly():
    assert_even(draw(TrivialAugment(), many()).operation[:, 0], 0, 13)
    z = draw(RandAugment(operations=2), many())
    pairs = z.operation[:, 0] * 14 + z.operation[:, 1]
    assert_even(pairs, 0, 14 * 14 - 1)
