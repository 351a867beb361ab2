"""The laws of the random layers. Seeds are fixed; false alarms are stated where one is possible."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from goodfit.layers import statistics
from goodfit.layers.alpha_dropout import AlphaDropout
from goodfit.layers.drop_connect import DropConnect
from goodfit.layers.dropout import Dropout
from goodfit.layers.fractional_max_pool import FractionalMaxPool2d, chances
from goodfit.layers.stochastic_depth import StochasticDepth, StochasticDepthInsertion
from goodfit.layers.vanilla_dropout import VanillaDropout

FALSE_ALARM = 1e-6  # per assertion, had the seed not been fixed


def assert_mean(samples: Tensor, expected: Tensor, false_alarm: float = FALSE_ALARM) -> None:
    """`samples` (draws, ...) have mean `expected`, up to noise that `false_alarm` allows."""
    mean, error = samples.mean(0), samples.std(0) / len(samples) ** 0.5
    z = (mean - expected) / error.clamp_min(1e-7)
    bound = NormalDist().inv_cdf(1 - false_alarm / (2 * z.numel()))
    assert z.abs().max() < bound, f"off by {z.abs().max():.1f} standard errors, allowed {bound:.1f}"


def assert_share(hits: int, tries: int, expected: float) -> None:
    assert stats.binomtest(int(hits), int(tries), expected).pvalue > FALSE_ALARM


@pytest.mark.parametrize("cls", [Dropout, VanillaDropout, AlphaDropout])
@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_dropout_keeps_its_share(cls, prob):
    torch.manual_seed(0)
    z = cls(prob).draw(torch.zeros(1000, 100))
    assert_share(z.sum(), z.numel(), 1 - prob)


@pytest.mark.parametrize("cls", [Dropout, VanillaDropout])
def test_dropout_averages_to_its_evaluation(cls):
    torch.manual_seed(0)
    layer, x = cls(0.3), torch.randn(4, 6)
    assert_mean(torch.stack([layer(x) for _ in range(3000)]), layer.eval()(x))


def test_alpha_dropout_keeps_mean_zero_and_variance_one():
    torch.manual_seed(0)
    y = AlphaDropout(0.2)(torch.randn(400_000))
    assert_mean(y, torch.tensor(0.0))
    assert_mean(y**2, torch.tensor(1.0))


def test_dropconnect_has_the_moments_it_says():
    torch.manual_seed(0)
    layer, x = DropConnect(nn.Linear(16, 4), prob=0.3), torch.randn(3, 16)
    draws = torch.stack([layer(x) for _ in range(4000)]).detach()
    mean, var = (m.detach() for m in layer.moments(x))
    torch.testing.assert_close(layer.eval()(x).detach(), mean)
    assert_mean(draws, mean)
    assert_mean((draws - mean) ** 2, var)


def test_gaussian_inference_averages_the_activation_over_the_masks():
    """400 inputs make the sum nearly normal; what is left of Wan's approximation is below 0.01."""
    torch.manual_seed(0)
    linear = nn.Linear(400, 8)
    layer = DropConnect(linear, prob=0.5, activation=nn.ReLU(), slices=200)
    x = torch.randn(2, 400)
    draws = torch.stack([layer(x) for _ in range(4000)]).detach()
    sampled, error = draws.mean(0), draws.std(0) / sqrt(4000)
    gap = (layer.eval()(x) - sampled).abs().detach()
    assert (gap < 0.01 + 5.5 * error).all()
    plain = (linear(x).relu() - sampled).abs().detach()
    assert gap.mean() < plain.mean() / 3


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def test_the_share_of_kept_branches_falls_linearly_with_depth():
    torch.manual_seed(0)
    model = nn.Sequential(*(Tiny() for _ in range(8)))
    StochasticDepthInsertion(prob=0.4)(model)
    x = torch.ones(50_000, 1)
    for number, block in enumerate(model, start=1):
        layer = block.branch.stochastic_depth
        assert layer.prob == pytest.approx(number / 8 * 0.4)
        assert_share(layer(x).count_nonzero(), 50_000, 1 - number / 8 * 0.4)


def test_images_are_skipped_independently():
    torch.manual_seed(0)
    z = torch.stack([StochasticDepth(0.5).draw(torch.ones(2, 1)) for _ in range(4000)])
    assert_share((z[:, 0] == z[:, 1]).sum(), 4000, 0.5)


LAWS = [(law, over) for law in ("random", "pseudorandom") for over in (False, True)]


@pytest.mark.parametrize(("law", "overlapping"), LAWS)
@pytest.mark.parametrize("pixels", [5, 8, 25])
def test_regions_have_the_lengths_of_the_law(law, overlapping, pixels):
    torch.manual_seed(0)
    layer = FractionalMaxPool2d(law=law, overlapping=overlapping)
    edges = layer.draw(torch.zeros(20_000, 1, pixels, 4)).rows
    steps = edges.diff(dim=1)
    out, total = layer.size(pixels), pixels - overlapping
    assert set(steps.unique().tolist()) <= {1, 2}
    assert (edges[:, 0] == 0).all()
    assert (edges[:, -1] == total).all()
    assert (steps.sum(1) == total).all()
    if law == "random":  # every place has as many twos, on average
        for i in range(out):
            assert_share((steps[:, i] == 2).sum(), 20_000, (total - out) / out)
    else:  # twos are spread evenly: any i neighbors have as many, up to one
        for i in range(1, out):
            sums = steps.unfold(1, i, 1).sum(2)
            assert sums.max() - sums.min() <= 1


@pytest.mark.parametrize(("law", "overlapping"), LAWS)
def test_region_chances_are_those_of_the_draws(law, overlapping):
    torch.manual_seed(0)
    layer, pixels = FractionalMaxPool2d(law=law, overlapping=overlapping), 11
    edges = layer.draw(torch.zeros(20_000, 1, pixels, 4)).rows
    for size, chance in chances(pixels, layer.size(pixels), law, overlapping).items():
        for i, start in np.ndindex(*chance.shape):
            hit = (edges[:, i] == start) & (edges[:, i + 1] - start + overlapping == size)
            assert_share(hit.sum(), 20_000, min(1.0, chance[i, start].item()))


def test_random_regions_are_any_order_of_the_steps():
    torch.manual_seed(0)
    layer = FractionalMaxPool2d(law="random", overlapping=False)
    steps = layer.draw(torch.zeros(20_000, 1, 7, 4)).rows.diff(dim=1)  # 4 regions, 3 twos
    counts = (steps == 1).sum(0)
    assert stats.chisquare(counts.numpy()).pvalue > FALSE_ALARM


@pytest.mark.parametrize(("law", "overlapping"), LAWS)
def test_fractional_pooling_averages_to_its_evaluation(law, overlapping):
    torch.manual_seed(0)
    layer = FractionalMaxPool2d(law=law, overlapping=overlapping)
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64)
    draws = layer(x.expand(20_000, -1, -1, -1))
    assert_mean(draws, layer.eval()(x)[0])


@pytest.mark.parametrize("name", statistics.SETTINGS)
def test_activation_statistics_are_as_the_theory_says(name):
    """False alarm 1e-6 a setting: 12 numbers of one run against normal errors."""
    theory = statistics.theory(name, width=1024)
    found = statistics.measured(name, width=1024)
    bound = NormalDist().inv_cdf(1 - 1e-6 / 24)
    assert (abs(found.mean - theory.mean) / theory.mean_error).max() < bound
    assert (abs(found.std - theory.std) / theory.std_error).max() < bound


def test_the_theory_knows_the_closed_forms():
    kaiming = statistics.theory("kaiming, relu", layers=3)
    np.testing.assert_allclose(kaiming.mean, 1 / sqrt(np.pi), rtol=1e-4)
    np.testing.assert_allclose(kaiming.std, sqrt(1 - 1 / np.pi), rtol=1e-4)
    xavier = statistics.theory("xavier, relu", layers=3)
    np.testing.assert_allclose(xavier.std[1:] / xavier.std[:-1], sqrt(0.5), rtol=1e-4)


def test_the_theory_errors_are_the_spread_over_seeds():
    """Ratio of standard deviations over 60 seeds: chi-square, false alarm 1e-6 for each of 6."""
    runs = [statistics.measured("kaiming, relu", width=128, layers=3, seed=s) for s in range(60)]
    theory = statistics.theory("kaiming, relu", width=128, layers=3)
    spread = np.array([run.std for run in runs]).std(0, ddof=1) / theory.std_error
    low, high = stats.chi2.ppf([5e-7 / 1.2, 1 - 5e-7 / 1.2], 59) / 59
    assert (spread**2 > low * 0.9).all()
    assert (spread**2 < high * 1.1).all()
