"""Add the sum of the squared weights to the loss.

    penalty = strength * sum w^2

With SGD this is `weight_decay = 2 * strength` in the optimizer, which is cheaper. With Adam it is
not: the pull is divided by the gradient's size, and `adamw` with its decoupled decay does better.
At test time nothing is added.

Source: Krogh & Hertz 1991, "A simple weight decay can improve generalization".
Lecture: Regularization, L2.
"""

from torch import Tensor, nn

from goodfit.penalties import Penalty, Strength, norms, weights_of


class L2(Penalty):
    strength: Strength = 2.5e-4

    def __call__(self, model: nn.Module) -> Tensor:
        return self.strength * norms(weights_of(model, everything=self.penalize_all), 2)
