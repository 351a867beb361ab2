"""Steps of about equal size for every weight, whatever the scale of its gradients.

    m ← beta1 m + (1 - beta1) g;   v ← beta2 v + (1 - beta2) g^2
    w ← w - lr m̂ / (sqrt(v̂) + eps)          m̂ = m / (1 - beta1^t), v̂ = v / (1 - beta2^t)

Weight decay is added to the gradient, as in the paper's time, and so divided by sqrt(v̂) with it:
weights with large gradients hardly decay. Use `adamw` unless an older result is to be repeated.

Source: Kingma & Ba 2015, arXiv:1412.6980. Lecture: Optimization, Adam.
"""

from torch import nn, optim

from goodfit.ingredient import Positive
from goodfit.optim import Momentum, Optim, Scale, can_fuse


class Adam(Optim):
    lr: Positive = 1e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Positive = 1e-8
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> optim.Adam:
        return optim.Adam(
            [group.as_torch() for group in self.groups(model)],
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            fused=can_fuse(model),
        )
