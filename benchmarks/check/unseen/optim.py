"""Optimizers and schedules of the unseen programs."""

from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer


class Accumulated(AdamW):
    """AdamW that steps at every `every`th call, with the mean of the gradients since."""

    every, calls = 4, 0

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self.calls % self.every == 0:
            super().zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        if self.calls % self.every:
            return None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad /= self.every
        return super().step(closure)


class Clipped(AdamW):
    """AdamW on gradients whose joint norm is at most one."""

    def step(self, closure: Any = None) -> Any:
        nn.utils.clip_grad_norm_([p for g in self.param_groups for p in g["params"]], 1.0)
        return super().step(closure)


class Sharpness(SGD):
    """SAM in one pass: gradients are taken a little uphill of the weights, along the momentum."""

    rho = 0.02

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        every = [p for group in self.param_groups for p in group["params"]]
        for p in every:
            if "ahead" in self.state[p]:
                p -= self.state[p]["ahead"]
        result = super().step(closure)
        buffers = [self.state[p]["momentum_buffer"] for p in every]
        norm = torch.stack([b.norm() for b in buffers]).norm() + 1e-12
        for p, buffer in zip(every, buffers, strict=True):
            self.state[p]["ahead"] = self.rho * buffer / norm
            p += self.state[p]["ahead"]
        return result


class Lion(Optimizer):
    """The sign of an interpolation between the momentum and the gradient."""

    def __init__(self, params: Iterable[Any], lr: float = 3e-4, decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": decay})

    @torch.no_grad()
    def step(self, _closure: Any = None) -> None:
        for group in self.param_groups:
            (one, two), lr = group["betas"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                past = self.state[p].setdefault("past", torch.zeros_like(p))
                p.mul_(1 - lr * group["weight_decay"])
                p.sub_(lr * past.lerp(p.grad, 1 - one).sign())
                past.lerp_(p.grad, 1 - two)


def _orthogonal(g: Tensor) -> Tensor:
    """Newton-Schulz iterations towards the nearest orthogonal matrix."""
    x = g.flatten(1)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).view_as(g)


class Muon(AdamW):
    """Matrices and filters move by orthogonalized momentum, all other parameters by AdamW."""

    def __init__(self, model: nn.Module, lr: float = 0.02, rest: float = 2e-3) -> None:
        every = list(model.parameters())
        groups = [
            {"params": [p for p in every if p.ndim > 1], "lr": lr, "matrices": True},
            {"params": [p for p in every if p.ndim < 2], "lr": rest, "matrices": False},
        ]
        super().__init__(groups, weight_decay=0.01)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        held = []
        for group in self.param_groups:
            if not group["matrices"]:
                continue
            for p in group["params"]:
                if p.grad is None:
                    continue
                past = self.state[p].setdefault("past", torch.zeros_like(p))
                past.mul_(0.9).add_(p.grad)
                step = _orthogonal(p.grad + 0.9 * past)
                scale = max(1.0, p.shape[0] / p[0].numel()) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * scale * step)
                held.append((p, p.grad))
                p.grad = None
        result = super().step(closure)
        for p, grad in held:
            p.grad = grad
        return result


def cosine(done: float) -> float:
    return 0.5 + 0.5 * cos(pi * done)


def warm(share: float) -> Callable[[float], float]:
    """From zero, linearly, for a share of the run; then a cosine."""
    return lambda done: done / share if done < share else cosine((done - share) / (1 - share))


def restarts(done: float) -> float:
    """Three cosines, each beginning at the full rate."""
    return max(0.02, cosine(3 * done % 1))


def flat_then_down(done: float) -> float:
    """Up for a tenth, flat, down over the last third."""
    return min(1.0, 0.1 + 9 * done) if done < 2 / 3 else max(0.0, 3 * (1 - done))
