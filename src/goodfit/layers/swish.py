"""A smooth ReLU that a search over formulas found; also called SiLU.

    f(x) = x * sigmoid(x)

At test time it is the same function; nothing is random.

Costs an exponential. The paper's form has a slope inside the sigmoid; it is 1 here, as in all
nets that use Swish today. CIFAR-10 (see the page of relu): 94.5 / 95.5 / 94.8%.

Source: Ramachandran et al. 2018, arXiv:1710.05941; Elfwing et al. 2018, arXiv:1702.03118.
Lecture: Activation Functions, Swish.
"""

from torch import nn

from goodfit.layers._base import Activation


class Swish(Activation):
    def module(self) -> nn.Module:
        return nn.SiLU()
