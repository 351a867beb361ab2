"""A ReLU with a soft floor, which keeps the mean of the activations near zero.

    f(x) = x for x > 0, alpha * (exp(x) - 1) otherwise

At test time it is the same function; nothing is random.

Negative values saturate at -alpha, which is robust to noise; the exponential costs a little.
CIFAR-10 (see the page of relu): 94.1 / 94.1 / 94.4%.

Source: Clevert et al. 2016, arXiv:1511.07289. Lecture: Activation Functions, ELU.
"""

from torch import nn

from goodfit.ingredient import Positive
from goodfit.layers._base import Activation


class Elu(Activation):
    alpha: Positive = 1.0

    def module(self) -> nn.Module:
        return nn.ELU(self.alpha)
