"""Add both the squared and the absolute weights to the loss.

    penalty = strength * sum (beta w^2 + |w|)

Sparse like L1, and groups of weights that do the same stay together as with L2. Two strengths to
search for instead of one: worth it where sparsity is wanted. At test time nothing is added.

Source: Zou & Hastie 2005, "Regularization and variable selection via the elastic net".
Lecture: Regularization, elastic net.
"""

from torch import Tensor, nn

from goodfit.penalties import NonNegative, Penalty, Strength, norms, weights_of


class ElasticNet(Penalty):
    strength: Strength = 1e-5
    beta: NonNegative = 1.0  # of the squares, against the absolute values

    def __call__(self, model: nn.Module) -> Tensor:
        weights = weights_of(model, everything=self.penalize_all)
        return self.strength * (self.beta * norms(weights, 2) + norms(weights, 1))
