"""Squash every value into (-1, 1), centered at zero.

    f(x) = tanh(x) = 2 sigmoid(2x) - 1

At test time it is the same function; nothing is random.

Centered, unlike the sigmoid, but saturated units still have no gradient. Not for deep nets
without normalization; initialize with Glorot where you use it.

Source: LeCun et al. 1998, "Efficient BackProp". Lecture: Activation Functions, Tanh.
"""

from torch import nn

from goodfit.layers._base import Activation


class Tanh(Activation):
    def module(self) -> nn.Module:
        return nn.Tanh()
