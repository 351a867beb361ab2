"""Silence random units, so that no unit can rely on another being there.

    f(x, z) = z * x / (1 - prob);   z ~ Bernoulli(1 - prob), one for each value

At test time nothing is dropped: kept values are scaled up in training, so the average of f is x,
exactly, up to the next nonlinearity. (The lecture scales at test instead: `vanilla-dropout`.)

`prob` is the share that is dropped, as in torch. By default one dropout is put right before the
head; `place = "hidden"` puts one after every hidden nonlinearity, which suits fully-connected
nets. Not before batch norm: the variance that it learns in training is not that of testing.

Source: Srivastava et al. 2014, JMLR 15; Hinton et al. 2012, arXiv:1207.0580.
Lecture: Regularization, Dropout.
"""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from goodfit.layers._dropping import Dropping, DroppingInsertion


class Dropout(Dropping):
    """Inverted dropout with an explicit mask."""

    def given(self, x: Float[Tensor, "..."], z: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
        return (x * z).mul_(1 / (1 - self.prob))

    def expect(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x


class DropoutInsertion(DroppingInsertion):
    layer: ClassVar[type[Dropping]] = Dropout
