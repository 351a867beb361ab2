"""Step down the gradient, with momentum that looks ahead.

    v ← momentum v + g + decay w;   w ← w - lr (g + decay w + momentum v)    (Nesterov)

The learning rate is meant for `base_batch` images and grows linearly with the batch, which holds
up to some thousands of images if the run starts with a warmup. The usual choice for convolutional
nets; transformers want `adamw`.

Source: Sutskever et al. 2013, "On the importance of initialization and momentum"; Goyal et al.
2017, arXiv:1706.02677 (scaling, no decay on norms). Lecture: Optimization; Large batches.
"""

from pydantic import model_validator
from torch import nn, optim

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale, can_fuse


class SGD(Optim):
    lr: Positive = 0.1
    momentum: Momentum = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 5e-4
    scale: Scale = "linear"

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and not self.momentum:
            raise ValueError(
                "without momentum there is nothing to look ahead: set nesterov = false"
            )
        return self

    def __call__(self, model: nn.Module) -> optim.SGD:
        return optim.SGD(
            [group.as_torch() for group in self.groups(model)],
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=can_fuse(model),
        )
