"""Pass what is positive and silence the rest: the default of the field.

    f(x) = max(0, x)

At test time it is the same function; nothing is random.

Does not saturate for x > 0, is cheap and trains fast. A unit that is negative for every image
has no gradient and stays dead: lower the learning rate, initialize with Kaiming, or use Leaky
ReLU or GELU. Ramachandran et al. measured 93.8 / 95.3 / 94.8% on CIFAR-10 (median of 5 runs;
ResNet-164 / WRN-28-10 / DenseNet-100-12); the pages of the others quote the same experiment.

Source: Nair & Hinton 2010; Krizhevsky et al. 2012. Lecture: Activation Functions, ReLU.
"""

from torch import nn

from goodfit.layers._base import Activation


class Relu(Activation):
    def module(self) -> nn.Module:
        return nn.ReLU()
