"""A ReLU with its corner rounded off.

    f(x) = log(1 + exp(sharpness * x)) / sharpness

At test time it is the same function; nothing is random.

The slope is a sigmoid and never zero, but all outputs are positive, so the mean drifts with
depth; use it where positive values are meant. CIFAR-10 (see the page of relu): 94.6 / 94.9 / 94.7%.

Source: Dugas et al. 2001; Glorot et al. 2011. Lecture: Activation Functions.
"""

from torch import nn

from goodfit.ingredient import Positive
from goodfit.layers._base import Activation


class Softplus(Activation):
    sharpness: Positive = 1.0

    def module(self) -> nn.Module:
        return nn.Softplus(self.sharpness)
