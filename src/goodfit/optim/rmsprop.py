"""Divide each gradient by its recent root mean square.

    v ← rho v + (1 - rho) g^2;   b ← momentum b + g / (sqrt(v) + eps);   w ← w - lr b

There is no correction of the first steps, when v is still small: start with a warmup. Used by
the papers of MobileNet and EfficientNet (with eps 1e-3 and above). Prefer `adamw`.

Source: Tieleman & Hinton 2012, "Lecture 6.5: rmsprop". Lecture: Optimization, RMSProp.
"""

from torch import nn, optim

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale


class RMSprop(Optim):
    lr: Positive = 1e-3
    rho: Momentum = 0.99
    momentum: Momentum = 0.0
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> optim.RMSprop:
        return optim.RMSprop(
            [group.as_torch() for group in self.groups(model)],
            lr=self.lr,
            alpha=self.rho,
            momentum=self.momentum,
            eps=self.eps,
            foreach=True,
        )
