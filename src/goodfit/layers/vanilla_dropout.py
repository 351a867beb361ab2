"""Dropout as the lecture writes it first: drop in training, scale at test. To teach.

    f(x, z) = z * x;   z ~ Bernoulli(1 - prob), one for each value

At test time values are multiplied by the KEEP probability 1 - prob, which is the average of f.
(The slide says "dropout probability"; in torch and here that is the probability to drop.) Who
forgets this factor feeds the next layer values that are 1 / (1 - prob) times too large;
`goodfit audit` finds that.

Use `dropout`, which computes the same net with the factor moved into training.

Source: Hinton et al. 2012, arXiv:1207.0580. Lecture: Regularization, Dropout, first version.
"""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from goodfit.layers._dropping import Dropping, DroppingInsertion


class VanillaDropout(Dropping):
    """Dropout that scales at test time."""

    def given(self, x: Float[Tensor, "..."], z: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * z

    def expect(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * (1 - self.prob)


class VanillaDropoutInsertion(DroppingInsertion):
    layer: ClassVar[type[Dropping]] = VanillaDropout
