"""Adam, with weight decay kept out of its averages.

    m ← beta1 m + (1 - beta1) g;   v ← beta2 v + (1 - beta2) g^2
    w ← (1 - lr decay) w - lr m̂ / (sqrt(v̂) + eps)         m̂ = m / (1 - beta1^t), v̂ alike

Decay acts on the weights alone, so it means the same for large and small gradients. The usual
choice for transformers and for fine-tuning. The rate grows with the square root of the batch.

Source: Loshchilov & Hutter 2019, arXiv:1711.05101. Lecture: Optimization, AdamW; Regularization,
decoupled weight decay.
"""

from torch import nn, optim

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale, can_fuse


class AdamW(Optim):
    lr: Positive = 1e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.05
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> optim.AdamW:
        return optim.AdamW(
            [group.as_torch() for group in self.groups(model)],
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            fused=can_fuse(model),
        )
