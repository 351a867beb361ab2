"""Initializations against torch's and the variances of their papers."""

from math import sqrt

import pytest
import torch
from scipy import stats
from torch import nn

from goodfit.init import fans
from goodfit.init._graph import gain_of
from goodfit.init.glorot import Glorot
from goodfit.init.kaiming import Kaiming
from goodfit.init.lecun import LeCun
from goodfit.init.normal import Normal
from goodfit.init.orthogonal import Orthogonal


def same_draws(ours, theirs, layer: nn.Module) -> None:
    """Both from the same seed: equal numbers, not only equal laws."""
    torch.manual_seed(0)
    ours(layer)
    got = layer.weight.detach().clone()
    torch.manual_seed(0)
    with torch.no_grad():
        theirs(layer.weight)
    torch.testing.assert_close(got, layer.weight.detach())


@pytest.mark.parametrize("layer", [nn.Linear(30, 20), nn.Conv2d(6, 8, 3), nn.Conv1d(4, 6, 5)])
def test_they_are_torchs(layer):
    init = nn.init
    same_draws(Normal(std=0.05), lambda w: init.normal_(w, 0, 0.05), layer)
    same_draws(Glorot(), init.xavier_uniform_, layer)
    same_draws(Glorot(uniform=False), init.xavier_normal_, layer)
    same_draws(LeCun(), lambda w: init.kaiming_normal_(w, nonlinearity="linear"), layer)
    same_draws(Kaiming(gain=sqrt(2)), lambda w: init.kaiming_normal_(w, nonlinearity="relu"), layer)
    same_draws(
        Kaiming(gain=sqrt(2), fan="out", uniform=True),
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu"),
        layer,
    )
    same_draws(Orthogonal(gain=1.5), lambda w: init.orthogonal_(w, 1.5), layer)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_layers_fan_in_keeps_the_variance(groups, stride):
    """Unit variance in gives unit variance out, grouped, depthwise and transposed alike.

    The output's variance is averaged over 8 channels and many places of 40 draws of the weight,
    which leaves an error of 3% (one sigma) at most; four of them are allowed.
    """
    torch.manual_seed(0)
    for layer in (
        nn.Conv2d(8, 8, 3, groups=groups, stride=stride, padding=1),
        nn.ConvTranspose2d(8, 8, 4, groups=groups, stride=stride),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Linear(50, 8),
    ):
        x = torch.randn(16, 50) if isinstance(layer, nn.Linear) else torch.randn(4, 8, 16, 16)
        variances = []
        for _ in range(40):
            LeCun()(layer)
            y = layer(x)
            edge = y.shape[-1] // 4  # away from the padding
            inner = y if y.ndim == 2 else y[..., edge:-edge, edge:-edge]
            variances.append(inner.var().item())
        assert sum(variances) / 40 == pytest.approx(1, abs=0.12)


def test_fans_by_hand():
    assert fans(nn.Linear(3, 5)) == (3, 5)
    assert fans(nn.Conv2d(6, 8, 3)) == (54, 72)
    assert fans(nn.Conv2d(6, 12, 3, groups=6)) == (9, 18)
    assert fans(nn.ConvTranspose2d(6, 8, 4, stride=2)) == (24, 128)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (nn.ReLU(), sqrt(2)),
        (nn.LeakyReLU(0.1), nn.init.calculate_gain("leaky_relu", 0.1)),
        (nn.PReLU(init=0.25), sqrt(2 / (1 + 0.25**2))),
        (nn.SELU(), 1.0),  # its fixed point
        (None, 1.0),
    ],
)
def test_gains(activation, gain):
    assert gain_of(activation) == pytest.approx(gain, abs=1e-4)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.SiLU(), nn.ELU(), nn.Softplus()])
def test_a_gain_keeps_the_second_moment(activation):
    """Against an integral of scipy's."""
    moment = stats.norm.expect(lambda x: activation(torch.tensor(x)).item() ** 2)
    assert gain_of(activation) == pytest.approx(moment**-0.5, rel=1e-5)


def test_kaiming_keeps_the_scale_through_many_layers():
    """30 layers of 512: the product of 30 ratios with a relative error near sqrt(5/512) each."""
    torch.manual_seed(0)
    x = torch.randn(64, 512)
    for activation in (nn.ReLU(), nn.LeakyReLU(0.2), nn.Tanh()):
        model = nn.Sequential(*[m for _ in range(30) for m in (nn.Linear(512, 512), activation)])
        Kaiming()(model)
        with torch.no_grad():
            last = model[:-1](x).std().item()
        assert 0.3 < last / gain_of(activation) < 3
