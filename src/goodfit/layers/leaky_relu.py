"""A ReLU that leaks: negative values pass, made small, so that no unit dies.

    f(x) = x for x > 0, slope * x otherwise

At test time it is the same function; nothing is random.

The lecture shows slopes 0.1 and 0.01; 0.01 is the source's and the default. The short form
max(slope * x, x) holds only for slopes up to 1, so larger ones are refused. Initialize with
Kaiming and the gain sqrt(2 / (1 + slope^2)). CIFAR-10 (see the page of relu): 94.2 / 95.6 / 94.7%.

Source: Maas et al. 2013. Lecture: Activation Functions, Leaky ReLU.
"""

from torch import nn

from goodfit.ingredient import Fraction
from goodfit.layers._base import Activation


class LeakyRelu(Activation):
    slope: Fraction = 0.01

    def module(self) -> nn.Module:
        return nn.LeakyReLU(self.slope)
