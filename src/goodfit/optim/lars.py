"""SGD in which every layer's step is a fixed fraction of its weights' norm.

    trust = eta ||w|| / (||g|| + decay ||w||)      (1 where a norm is zero, and on norms and biases)
    v ← momentum v + trust (g + decay w);   w ← w - lr v

For batches of many thousands of images, where one rate for all layers is too high for some. Norms
and biases take plain momentum steps. The rate is multiplied by eta, so it is large: 1 to 30. For
batches below a thousand `sgd` is as good.

Source: You et al. 2017, arXiv:1708.03888. Lecture: Large batches.
"""

from typing import Any

import torch
from torch import Tensor, nn

from goodfit.ingredient import NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale
from goodfit.optim._stepping import OwnOptimizer, norms, scaled


class LARS(Optim):
    lr: Positive = 1.0
    momentum: Momentum = 0.9
    nesterov: bool = False
    eta: Positive = 0.001  # the trust coefficient
    weight_decay: NonNegative = 5e-5
    scale: Scale = "linear"

    def __call__(self, model: nn.Module) -> "LayerwiseSGD":
        groups = [group.as_torch() for group in self.groups(model)]
        return LayerwiseSGD(groups, self.lr, self.momentum, self.eta, nesterov=self.nesterov)


class LayerwiseSGD(OwnOptimizer):
    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float,
        eta: float,
        *,
        nesterov: bool,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": 0.0, "are_weights": True}
        super().__init__(
            groups, defaults | {"momentum": momentum, "eta": eta, "nesterov": nesterov}
        )

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        decay, momentum = group["weight_decay"], group["momentum"]
        changes = list(torch._foreach_add(grads, params, alpha=decay))
        if group["are_weights"]:
            w, g = norms(params), norms(grads)
            trust = group["eta"] * w / (g + decay * w)
            changes = scaled(changes, torch.where((w > 0) & (g > 0), trust, 1.0))
        velocities = self.buffers(params, "velocity")
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, changes)
        if group["nesterov"]:
            torch._foreach_add_(changes, velocities, alpha=momentum)
            velocities = changes
        torch._foreach_add_(params, velocities, alpha=-group["lr"])
