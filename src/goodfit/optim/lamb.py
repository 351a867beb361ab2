"""AdamW in which every layer's step is as long as its weights' norm times the rate.

    r = m̂ / (sqrt(v̂) + eps) + decay w;   w ← w - lr ||w|| / ||r|| r      m̂, v̂ as in Adam

The ratio is 1 where a norm is zero, and on norms and biases. For batches of many thousands of
images; for smaller ones `adamw` is as good.

Source: You et al. 2020, arXiv:1904.00962. Lecture: Large batches.
"""

from typing import Any

import torch
from torch import Tensor, nn

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale
from goodfit.optim._stepping import OwnOptimizer, norms, scaled


class LAMB(Optim):
    lr: Positive = 2e-3
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Positive = 1e-6
    weight_decay: NonNegative = 0.02
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> "LayerwiseAdam":
        groups = [group.as_torch() for group in self.groups(model)]
        return LayerwiseAdam(groups, self.lr, self.betas, self.eps)


class LayerwiseAdam(OwnOptimizer):
    def __init__(
        self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        defaults = {"lr": lr, "weight_decay": 0.0, "are_weights": True, "steps": 0}
        super().__init__(groups, defaults | {"betas": betas, "eps": eps})

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        group["steps"] += 1
        changes = self.adam(group, params, grads)
        torch._foreach_add_(changes, params, alpha=group["weight_decay"])
        if group["are_weights"]:
            w, r = norms(params), norms(changes)
            changes = scaled(changes, torch.where((w > 0) & (r > 0), w / r, 1.0))
        torch._foreach_add_(params, changes, alpha=-group["lr"])
