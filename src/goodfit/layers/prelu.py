"""A leaky ReLU that learns its slope.

    f(x) = x for x > 0, slope * x otherwise;   slope is a parameter, one per place

At test time it is the same function, with the slope that was learned; nothing is random.

Slopes start at 0.25. Weight decay would pull them to zero, that is, to a plain ReLU: keep them
out of it, as our optimizers do with all vectors and scalars. CIFAR-10 (see the page of relu):
94.1 / 95.1 / 94.5%.

Source: He et al. 2015, arXiv:1502.01852. Lecture: Activation Functions, PReLU.
"""

from torch import nn

from goodfit.ingredient import Fraction
from goodfit.layers._base import Activation


class Prelu(Activation):
    start: Fraction = 0.25  # the slope before training

    def module(self) -> nn.Module:
        return nn.PReLU(init=self.start)
