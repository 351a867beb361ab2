"""Optimizers: (model) → torch.optim.Optimizer with parameter groups.

Norms, biases, PReLU slopes and other vectors are not decayed, unless `decay_all` is set.
`layer_decay` lowers the rate layer by layer towards the images, `head_lr` multiplies the rate of
the classifier. `groups(model)` says what comes out, `table` prints it.
"""

from math import sqrt
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import nn
from torch.optim import Optimizer

from goodfit.ingredient import Count, Ingredient, NonNegative, Positive
from goodfit.optim._groups import Group, grouped, head_of, layers_of, table

__all__ = ["Group", "Momentum", "Optim", "Scale", "can_fuse", "head_of", "layers_of", "table"]

Scale = Literal["linear", "sqrt", "none"]
Momentum = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Optim(Ingredient):
    """Base of all optimizers' settings.

    lr: for `base_batch` images in a step; `scale` says how it follows the batch size.
    """

    noun: ClassVar[str] = "optimizer"
    lr: Positive = 0.1
    weight_decay: NonNegative = 0.0
    scale: Scale = "none"
    base_batch: Count = 256
    layer_decay: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    head_lr: Positive = 1.0  # times lr
    decay_all: bool = False  # norms and biases too

    def scaled_lr(self, batch_size: int) -> float:
        """The learning rate for steps of `batch_size` images, over all devices and accumulation."""
        ratio = batch_size / self.base_batch
        return self.lr * {"linear": ratio, "sqrt": sqrt(ratio), "none": 1.0}[self.scale]

    def for_batch(self, batch_size: int) -> Self:
        """The same optimizer, stated for `batch_size`: the rate is the scaled one."""
        return self.replaced(lr=self.scaled_lr(batch_size), base_batch=batch_size)

    def groups(self, model: nn.Module) -> list[Group]:
        """Which parameters get which rate and decay, and why."""
        return grouped(
            model,
            lr=self.lr,
            weight_decay=self.weight_decay,
            layer_decay=self.layer_decay,
            head_lr=self.head_lr,
            decay_all=self.decay_all,
        )

    def __call__(self, model: nn.Module) -> Optimizer:
        raise NotImplementedError


def can_fuse(model: nn.Module) -> bool:
    """Whether torch's fused kernels take all trainable parameters."""
    return all(
        p.is_floating_point() and not p.is_sparse and p.device.type in ("cpu", "cuda")
        for p in model.parameters()
        if p.requires_grad
    ) and hasattr(torch, "_fused_adamw_")
