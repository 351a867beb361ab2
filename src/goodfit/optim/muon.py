"""Momentum whose matrices are made orthogonal before each step, so that all directions move alike.

    b ← momentum b + (1 - momentum) g;   u = orthogonal((1 - momentum) g + momentum b)
    w ← (1 - lr decay) w - lr 0.2 sqrt(max(rows, columns)) u

`orthogonal` replaces the singular values by numbers between about 0.7 and 1.2, with five
Newton-Schulz steps. Filters (o, i, k, k) are taken as (o, i k k) matrices. The head, embeddings,
norms and biases take AdamW steps; the factor above gives both the same typical size, so there is
one learning rate. Fast on small convolutional nets from scratch; not for fine-tuning weights that
AdamW made. torch.optim.Muon takes matrices only, hence our own.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers"; Liu et al. 2025,
arXiv:2502.16982 (the factor 0.2). Lecture: Optimization.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from goodfit.ingredient import Count, NonNegative, Positive
from goodfit.optim import Momentum, Optim, Scale, head_of
from goodfit.optim._stepping import OwnOptimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic, steep at zero


class Muon(Optim):
    lr: Positive = 2e-3
    momentum: Momentum = 0.95
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)  # of the AdamW steps
    eps: Positive = 1e-8
    newton_steps: Count = 5
    weight_decay: NonNegative = 0.05
    scale: Scale = "sqrt"

    def __call__(self, model: nn.Module) -> "Orthogonal":
        head = head_of(model)
        kept = {
            id(p)
            for place, module in model.named_modules()
            for p in module.parameters(recurse=False)
            if place == head or isinstance(module, nn.Embedding | nn.EmbeddingBag)
        }
        groups = []
        for group in self.groups(model):
            split: dict[bool, list[Tensor]] = defaultdict(list)
            for p in group.parameters:
                split[group.are_weights and p.ndim >= 2 and id(p) not in kept].append(p)
            groups += [
                group.as_torch() | {"params": params, "orthogonal": orthogonal}
                for orthogonal, params in split.items()
            ]
        return Orthogonal(groups, self)


class Orthogonal(OwnOptimizer):
    def __init__(self, groups: list[dict[str, Any]], settings: Muon) -> None:
        defaults: dict[str, Any] = {
            "lr": settings.lr,
            "weight_decay": 0.0,
            "orthogonal": True,
            "steps": 0,
        }
        defaults |= {"momentum": settings.momentum, "betas": settings.betas, "eps": settings.eps}
        super().__init__(groups, defaults | {"newton_steps": settings.newton_steps})

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        group["steps"] += 1
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        changes = self._matrices if group["orthogonal"] else self.adam
        torch._foreach_add_(params, changes(group, params, grads), alpha=-group["lr"])

    def _matrices(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> list[Tensor]:
        momentum = group["momentum"]
        buffers = self.buffers(params, "momentum")
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        ahead = torch._foreach_lerp(grads, buffers, momentum)
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for i, change in enumerate(ahead):
            by_shape[change.flatten(1).shape].append(i)
        found: dict[int, Tensor] = {}
        for (rows, columns), members in by_shape.items():
            stacked = torch.stack([ahead[i].flatten(1) for i in members])
            done = orthogonalized(stacked, group["newton_steps"])
            done *= 0.2 * max(rows, columns) ** 0.5
            found |= {i: u.view(params[i].shape) for i, u in zip(members, done, strict=True)}
        return [found[i].to(params[i].dtype) for i in range(len(params))]


def orthogonalized(matrices: Tensor, steps: int = 5) -> Tensor:
    """(b, rows, columns) with singular values moved near 1, the singular vectors kept.

    In bfloat16 on CUDA, which the iteration tolerates; in float32 where bfloat16 is slow.
    """
    half = matrices.device.type == "cuda"
    x = matrices.bfloat16() if half else matrices.float()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    x = _iterated(x, steps) if half else _product(x @ x.mT, steps) @ x
    return (x.mT if tall else x).to(matrices.dtype).contiguous()


def _iterated(x: Tensor, steps: int) -> Tensor:
    """x ← (a + b G + c G²) x with G = x xᵀ, as published."""
    a, b, c = _COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _product(gram: Tensor, steps: int) -> Tensor:
    """The factor before x after all steps: the same with half the work, as rows are fewer.

    G of the next step is P G P, for P = a + b G + c G² and G commute. Needs float32, since the
    squares of small singular values are kept.
    """
    a, b, c = _COEFFICIENTS
    total = gram
    for step in range(steps):
        change = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        change.diagonal(dim1=1, dim2=2).add_(a)
        total = change @ total if step else change
        gram = change @ gram @ change if step < steps - 1 else gram
    return total
