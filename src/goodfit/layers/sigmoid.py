"""Squash every value into (0, 1), as the firing rate of a neuron.

    f(x) = 1 / (1 + exp(-x))

At test time it is the same function; nothing is random.

Not for hidden layers today: the slope is at most 1/4 and vanishes on both sides, so gradients
die in deep nets, and the outputs are never centered. It stays right as a gate and as the output
of two classes. Gates are not touched when the activations of a model are swapped.

Source: LeCun et al. 1998, "Efficient BackProp". Lecture: Activation Functions, Sigmoid.
"""

from torch import nn

from goodfit.layers._base import Activation


class Sigmoid(Activation):
    def module(self) -> nn.Module:
        return nn.Sigmoid()
