"""The lecture's experiment: do activations keep their scale through a deep net at initialization?

    h_0 ~ N(0, 1),   h_l = f(W_l h_(l-1)),   W_l ~ N(0, sd^2),   6 layers of 4096, batch of 16

`measured` runs it and gives the mean and standard deviation of every layer. `theory` says what
they should be for wide layers, with the standard errors that a finite width and batch leave: the
pre-activations of a layer are normal with variance width * sd^2 * E h^2, so one integral per
layer carries the moments on.

With sd = 0.01 and tanh, activations shrink to nothing and so do gradients; with 0.05 they
saturate; Xavier keeps tanh nets alive; with ReLU it loses half of the variance in every layer,
and Kaiming's factor 2 restores it.

At test time nothing is different: this is about the first forward pass.

Source: Glorot & Bengio 2010; He et al. 2015, arXiv:1502.01852; for the theory Poole et al. 2016,
arXiv:1606.05340. Lecture: Weight Initialization, activation statistics.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from goodfit.errors import RecipeError

_GRID = np.linspace(-8, 8, 641)  # the tails beyond are below 1e-15
_NORMAL = np.exp(-(_GRID**2) / 2) / np.exp(-(_GRID**2) / 2).sum()


class Setting(NamedTuple):
    """One of the lecture's nets: its nonlinearity and how weights are scaled."""

    relu: bool
    sd: float | None = None  # of the weights; None: sqrt(gain / width)
    gain: float = 1.0

    def weight_sd(self, width: int) -> float:
        return (self.gain / width) ** 0.5 if self.sd is None else self.sd


SETTINGS = {
    "small normal 0.01, tanh": Setting(relu=False, sd=0.01),
    "normal 0.05, tanh": Setting(relu=False, sd=0.05),
    "xavier, tanh": Setting(relu=False),
    "xavier, relu": Setting(relu=True),
    "kaiming, relu": Setting(relu=True, gain=2.0),
}


class LayerMoments(NamedTuple):
    """Mean and standard deviation of the activations of each layer; standard errors in theory."""

    mean: Float[np.ndarray, " layers"]
    std: Float[np.ndarray, " layers"]
    mean_error: Float[np.ndarray, " layers"] | None = None
    std_error: Float[np.ndarray, " layers"] | None = None


def _setting(name: str) -> Setting:
    if name not in SETTINGS:
        raise RecipeError(
            f"no activation experiment is called {name!r}",
            known="; ".join(SETTINGS),
            fix="choose one of these",
        )
    return SETTINGS[name]


@torch.no_grad()
def measured(
    name: str, *, layers: int = 6, width: int = 4096, batch: int = 16, seed: int = 0
) -> LayerMoments:
    """Run the experiment called `name` once. 4096 wide it takes about a second and 70 MB."""
    setting, generator = _setting(name), torch.Generator().manual_seed(seed)
    h = torch.randn(batch, width, generator=generator)
    mean, std = [], []
    for _ in range(layers):
        weight = torch.randn(width, width, generator=generator) * setting.weight_sd(width)
        h = h @ weight
        h = h.relu_() if setting.relu else h.tanh_()
        mean.append(h.mean(dtype=torch.float64).item())
        std.append(h.double().std(correction=0).item())
    return LayerMoments(np.array(mean), np.array(std))


def theory(name: str, *, layers: int = 6, width: int = 4096, batch: int = 16) -> LayerMoments:
    """What `measured` should give, and its standard errors.

    Errors follow the two averages (h, h^2) of a sample from layer to layer: each layer adds
    noise / width and passes on the fluctuation of the variance that it read. Two samples share
    the weights, so their noise is correlated; both are carried along.
    """
    setting = _setting(name)
    factor = width * setting.weight_sd(width) ** 2
    second, product = 1.0, 0.0  # E h^2 of a sample; E h h' of two samples
    own, shared = np.diag([1.0, 2.0]) / width, np.zeros((2, 2))  # covariances of (mean h, mean h^2)
    rows = []
    for _ in range(layers):
        q, rho = factor * second, product / second
        values = _powers(_GRID * q**0.5, setting)  # (2, grid): f and f^2
        (mean, second_new), noise = values @ _NORMAL, np.cov(values, aweights=_NORMAL, ddof=0)
        joint, product_new = _joint(values, q, rho, setting)
        step = 1e-4 * q
        slope = (_powers(_GRID * (q + step) ** 0.5, setting) @ _NORMAL - values @ _NORMAL) / step
        carry = np.stack([np.zeros(2), factor * slope], axis=1)  # only E h^2 matters downstream
        own = carry @ own @ carry.T + noise / width
        shared = carry @ shared @ carry.T + joint / width
        spread = own / batch + shared * (1 - 1 / batch)
        std = (second_new - mean**2) ** 0.5
        to_std = np.array([-mean, 0.5]) / std
        rows.append((mean, std, spread[0, 0] ** 0.5, (to_std @ spread @ to_std) ** 0.5))
        second, product = second_new, product_new
    return LayerMoments(*np.array(rows).T)


def _powers(u: np.ndarray, setting: Setting) -> np.ndarray:
    f = np.maximum(u, 0) if setting.relu else np.tanh(u)
    return np.stack([f, f**2])


def _joint(values: np.ndarray, q: float, rho: float, setting: Setting) -> tuple[np.ndarray, float]:
    """Covariance of (f, f^2) between two samples with correlation rho, and E f f'."""
    u = rho * _GRID[:, None] + (max(0.0, 1 - rho**2)) ** 0.5 * _GRID  # the other's, given the first
    other = _powers(u * q**0.5, setting) @ _NORMAL  # (2, grid): averages given the first
    both = (values * _NORMAL) @ other.T
    means = values @ _NORMAL
    return both - np.outer(means, means), float(both[0, 0])
