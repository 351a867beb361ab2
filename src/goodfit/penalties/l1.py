"""Add the sum of the weights' absolute values to the loss, which drives many of them to zero.

    penalty = strength * sum |w|

The optimizer only comes near zero, so prune small weights afterwards if zeros are the aim. With an
adaptive optimizer the pull is divided by the gradient's size, too. At test time nothing is added.

Source: Tibshirani 1996, "Regression shrinkage and selection via the lasso".
Lecture: Regularization, L1.
"""

from torch import Tensor, nn

from goodfit.penalties import Penalty, Strength, norms, weights_of


class L1(Penalty):
    strength: Strength = 1e-5

    def __call__(self, model: nn.Module) -> Tensor:
        return self.strength * norms(weights_of(model, everything=self.penalize_all), 1)
