"""Drop single connections of a linear layer: every image sees its own sparse weights.

    f(x, z) = (z * W / (1 - prob)) x + b;   z ~ Bernoulli(1 - prob) for each weight and image

Kept weights are scaled up, so the average of f is W x + b, exactly, and each output's variance is
prob / (1 - prob) * (W * W)(x * x); `moments` returns both.

At test time all connections are used as they are, the mean. With `slices > 0` and the activation
that follows, testing averages the activation over a normal distribution with these moments, as
Wan et al. do, but over the centers of `slices` equally likely parts of it instead of random
draws: evaluation stays deterministic.

The masks take n * out * in bytes: meant for heads, not for wide hidden layers.

Source: Wan et al. 2013, "Regularization of Neural Networks using DropConnect". The slide's "use
all connections" needs the scaling. Lecture: Regularization, DropConnect.
"""

from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from goodfit.errors import ModelError, RecipeError
from goodfit.layers._attach import head
from goodfit.layers._base import Changed, Insertion, StochasticLayer, checked_prob
from goodfit.layers._swap import is_activation, no_place, replace

Mask = Bool[Tensor, "n o i"]


class Moments(NamedTuple):
    """Mean and variance of every output over the masks."""

    mean: Float[Tensor, "n o"]
    var: Float[Tensor, "n o"]


class DropConnect(StochasticLayer):
    """A linear layer with random connections, and the activation after it if `slices` are used.

    linear: the layer whose connections are dropped. prob: share dropped.
    activation: applied to the output; needed for slices > 0.
    slices: 0 tests with the mean; otherwise how many points stand for the normal distribution.
    """

    def __init__(
        self,
        linear: nn.Linear,
        prob: float = 0.5,
        *,
        activation: nn.Module | None = None,
        slices: int = 0,
    ) -> None:
        super().__init__()
        if slices < 0 or (slices and activation is None):
            raise RecipeError(
                f"drop-connect cannot have slices = {slices}"
                + ("" if slices < 0 else " without an activation"),
                wanted="0 for the mean; or some points, and the activation to average over them",
                fix="give `activation`, or leave `slices` at 0",
            )
        self.linear, self.prob = linear, checked_prob("drop-connect", prob)
        self.activation = nn.Identity() if activation is None else activation
        self.slices = slices

    def draw(self, x: Float[Tensor, "n i"]) -> Mask:
        if x.ndim != 2:
            raise ModelError(
                "drop-connect takes one vector per image",
                seen=f"an input of shape {tuple(x.shape)}",
                fix="put it behind pooling and flattening, at the head",
            )
        shape = (len(x), *self.linear.weight.shape)
        if x.device.type == "cpu":
            return torch.rand(shape) >= self.prob  # faster there than bernoulli_
        return torch.empty(shape, dtype=torch.bool, device=x.device).bernoulli_(1 - self.prob)

    def given(self, x: Float[Tensor, "n i"], z: Mask) -> Float[Tensor, "n o"]:
        weight = z * self.linear.weight  # (n, o, i)
        y = torch.bmm(weight, x[:, :, None])[:, :, 0] * (1 / (1 - self.prob))
        y = y if self.linear.bias is None else y + self.linear.bias
        return self.activation(y)  # type: ignore[no-any-return]

    def expect(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        if not self.slices:
            return self.activation(self.linear(x))  # type: ignore[no-any-return]
        mean, var = self.moments(x)
        ranks = (
            torch.arange(self.slices, device=x.device, dtype=torch.float64) + 0.5
        ) / self.slices
        deviation, total = var.sqrt(), torch.zeros_like(mean)
        for normal in torch.special.ndtri(ranks).to(x.dtype):
            total += self.activation(mean + normal * deviation)
        return total / self.slices

    def moments(self, x: Float[Tensor, "n i"]) -> Moments:
        """Exact mean and variance, over the masks, of what goes into the activation."""
        var = F.linear(x**2, self.linear.weight**2) * (self.prob / (1 - self.prob))
        return Moments(self.linear(x), var)

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}, slices={self.slices}"


class DropConnectInsertion(Insertion):
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.5
    place: Literal["head", "hidden"] = "head"  # hidden: linear layers right before an activation
    slices: Annotated[int, Field(ge=0)] = 0  # 0: test with the mean; place = "hidden" only

    def __call__(self, model: nn.Module) -> Changed:
        if self.place == "hidden":
            return self._hidden(model)
        name, linear = head(model)
        if not isinstance(linear, nn.Linear) or not name or self.slices:
            raise ModelError(
                "drop-connect cannot be put at the head",
                at=name or "the model",
                seen="slices without an activation" if self.slices else type(linear).__name__,
                fix='set place = "hidden"' if self.slices else "use `dropout` in this model",
            )
        replace(model, name, DropConnect(linear, self.prob).train(linear.training))
        return Changed((name,))

    def _hidden(self, model: nn.Module) -> Changed:
        places = []
        for name, module in list(model.named_modules()):
            if not isinstance(module, nn.Sequential):
                continue
            for i in range(len(module) - 1):
                linear, act = module[i], module[i + 1]
                if isinstance(linear, nn.Linear) and is_activation(act):
                    module[i] = DropConnect(
                        linear, self.prob, activation=act, slices=self.slices
                    ).train(linear.training)
                    module[i + 1] = nn.Identity()
                    places.append(f"{name}.{i}".lstrip("."))
        if not places:
            wanted = "linear layer right before an activation in an nn.Sequential"
            raise no_place(model, wanted, fix='use place = "head", or `dropout`')
        return Changed(tuple(places))
