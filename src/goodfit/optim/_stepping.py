"""What our own optimizers share: gathering a group's tensors, and ratios of norms."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class OwnOptimizer(Optimizer):
    """Base of the optimizers that torch lacks: a subclass says what one group's step does."""

    def step_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update the parameters that have gradients, in place."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self.step_group(group, params, [p.grad for p in params])
        return loss

    def buffers(self, params: list[Tensor], name: str) -> list[Tensor]:
        """A state tensor for each parameter, zero at first."""
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        return [self.state[p][name] for p in params]

    def adam(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]
    ) -> list[Tensor]:
        """Adam's bias-corrected changes, before the rate; `steps` counts the one under way."""
        beta1, beta2 = group["betas"]
        means, squares = self.buffers(params, "mean"), self.buffers(params, "square")
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        roots = torch._foreach_div(squares, 1 - beta2 ** group["steps"])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        changes = list(torch._foreach_div(means, 1 - beta1 ** group["steps"]))
        torch._foreach_div_(changes, roots)
        return changes


def norms(tensors: list[Tensor]) -> Tensor:
    """The Euclidean norm of each tensor, without waiting for the device."""
    return torch.stack(torch._foreach_norm(tensors)).float()


def scaled(tensors: list[Tensor], factors: Tensor) -> list[Tensor]:
    """Each tensor times its own factor."""
    matched = [factor.to(t.dtype) for factor, t in zip(factors.unbind(), tensors, strict=True)]
    return list(torch._foreach_mul(tensors, matched))
