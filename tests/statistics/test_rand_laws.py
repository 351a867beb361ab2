"""The draws have their laws and are independent; each check fails by chance with 1e-6."""

from math import sqrt

import pytest
import torch
from scipy import stats

from goodfit.batch import Batch
from goodfit.rand import Rng

FALSE_ALARM = 1e-6
N = 30_000


def rng(name: str = "a", epoch: int = 0, start: int = 0, n: int = N) -> Rng:
    index = torch.arange(start, start + n)
    return Rng(0, name, Batch(torch.zeros(n, 1, 1, 1), torch.zeros(n, 1), index, epoch))


def assert_law(values: torch.Tensor, law) -> None:
    assert stats.kstest(values.double().numpy(), law.cdf).pvalue > FALSE_ALARM


def test_uniform_numbers_over_samples_over_draws_and_over_epochs():
    assert_law(rng().uniform(), stats.uniform())
    assert_law(rng(n=1).uniforms(N)[0], stats.uniform())
    epochs = torch.stack([rng(epoch=e, n=3).uniform() for e in range(800)])
    assert_law(epochs.flatten(), stats.uniform())


def test_every_bit_is_fair():
    words = rng().words(4)
    for bit in range(32):
        share = (words >> bit & 1).double().mean()
        assert abs(float(share) - 0.5) < 4.9 * 0.5 / sqrt(4 * N) * 1.2  # 32 bits are looked at


@pytest.mark.parametrize("law", ["normal", "wide", "skew"])
def test_normal_and_beta_numbers(law):
    if law == "normal":
        assert_law(rng().normal(), stats.norm())
        assert_law(rng().normals(3).flatten(), stats.norm())
    elif law == "wide":
        assert_law(rng().beta(0.3, 0.3), stats.beta(0.3, 0.3))
    else:
        assert_law(rng().beta(0.5, 3.0), stats.beta(0.5, 3.0))


def test_neighbors_names_draws_and_epochs_are_uncorrelated():
    first = rng().uniform()
    columns = [
        first,
        rng(start=1).uniform(),
        rng("b").uniform(),
        rng(epoch=1).uniform(),
        rng().uniforms(2)[:, 1],
    ]
    off = torch.corrcoef(torch.stack(columns).double())[torch.triu_indices(5, 5, 1).unbind()]
    assert off.abs().max() < 5.3 / sqrt(N)  # ten of them are looked at


def test_partners_are_all_equally_likely():
    partner = torch.stack([rng(epoch=e, n=5).partners() for e in range(1200)])
    for sample in range(5):
        counts = torch.bincount(partner[:, sample], minlength=5)
        assert counts[sample] == 0
        others = counts[torch.arange(5) != sample]
        assert stats.chisquare(others.numpy()).pvalue > FALSE_ALARM
