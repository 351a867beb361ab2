"""Put a model and data together into a program's pieces, with ordinary defaults."""

from collections.abc import Callable, Iterable
from typing import Any

import torch.nn.functional as F
from benchmarks.check.data import Data, in_order, loader
from benchmarks.check.program import Pieces
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer


def sgd(model: nn.Module, lr: float = 0.05, **options: Any) -> Optimizer:
    return SGD(model.parameters(), lr=lr, **{"momentum": 0.9} | options)


def adam(model: nn.Module, lr: float = 2e-3, **options: Any) -> Optimizer:
    return Adam(model.parameters(), lr=lr, **options)


def adamw(model: nn.Module, lr: float = 2e-3, **options: Any) -> Optimizer:
    return AdamW(model.parameters(), lr=lr, **options)


def assemble(
    model: nn.Module,
    data: Data,
    optimizer: Optimizer | None = None,
    *,
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy,
    train: Iterable[Any] | None = None,
    val: Iterable[Any] | None = None,
    schedule: Callable[[float], float] | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    size: int = 64,
    steps: int = 150,
    seed: int = 0,
) -> Pieces:
    return Pieces(
        model=model,
        train=loader(data, size, seed) if train is None else train,
        val=in_order(data.val_x, data.val_y) if val is None else val,
        optimizer=optimizer or sgd(model),
        loss=loss,
        schedule=schedule,
        steps=steps,
        logits=logits,
        test=in_order(data.test_x, data.test_y),
    )
