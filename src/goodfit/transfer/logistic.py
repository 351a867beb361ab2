"""Multinomial logistic regression, trained to convergence: the classifier of a linear probe.

    minimize  mean_i w_i CE(W x_i + b, y_i) + l2 / 2 |W|^2,    mean_i w_i = 1

The bias is not held back. scikit-learn's C is 1 / (l2 * number of images).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

GRID = tuple(10 ** (power / 2) for power in range(4, -11, -1))  # 100 down to 1e-5
_LARGE = 20_000_000  # numbers, beyond which float32 has to do


class Linear(NamedTuple):
    """Logits are x @ weight.T + bias."""

    weight: Float[Tensor, "k d"]
    bias: Float[Tensor, " k"]

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        return F.linear(x, self.weight, self.bias)


class Scale(NamedTuple):
    """Features are centered and brought to unit mean variance, so that one grid of l2 serves."""

    mean: Float[Tensor, " d"]
    std: Tensor  # one number: the geometry of the features stays

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (x.to(self.mean.dtype) - self.mean) / self.std

    def undone(self, linear: Linear) -> Linear:
        """The same function, of the features as they come."""
        weight = linear.weight / self.std
        return Linear(weight, linear.bias - weight @ self.mean)


def scale_of(x: Float[Tensor, "n d"]) -> Scale:
    """The scale of some features; in float64 unless they are many."""
    x = x.float() if x.numel() > _LARGE else x.double()
    return Scale(x.mean(0), x.var(0, correction=0).mean().sqrt().clamp_min(1e-12))


def logistic(
    x: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    l2: float,
    weights: Float[Tensor, " n"] | None = None,
    start: Linear | None = None,
) -> Linear:
    """The minimum, by L-BFGS from `start` or from zero."""
    weight = x.new_zeros(classes, x.shape[1]) if start is None else start.weight.clone()
    bias = x.new_zeros(classes) if start is None else start.bias.clone()
    share = torch.full_like(x[:, 0], 1 / len(x)) if weights is None else weights / weights.sum()
    share = share.to(x.dtype)
    found = [weight.requires_grad_(), bias.requires_grad_()]
    search = torch.optim.LBFGS(
        found,
        max_iter=1000,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        each = F.cross_entropy(F.linear(x, weight, bias), labels, reduction="none")
        value = share @ each + l2 / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(closure)  # type: ignore[no-untyped-call]
    return Linear(weight.detach(), bias.detach())


def path(
    x: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    weights: Float[Tensor, " n"] | None = None,
) -> Iterator[tuple[float, Linear]]:
    """The minima for all l2 of the grid, strongest first, each started from the one before."""
    start = None
    for l2 in GRID:
        start = logistic(x, labels, classes, l2, weights, start)
        yield l2, start
