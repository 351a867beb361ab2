"""Where a number stopped being finite: the first layer, in the order of computation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from goodfit.batch import Batch
from goodfit.losses.interpolate import interpolated


def first_nonfinite(
    model: nn.Module, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[str, str]:
    """(layer's name, what was not finite) for one batch; repeats its forward and backward pass.

    Looks at the images, the weights, each layer's output in forward order, the loss, and each
    layer's gradient in backward order, the gradients of the weights, and their norm. A compiled
    or distributed model is looked at as it was written, by each process with its own batch.
    Gradients and batch-norm buffers of the model are touched.
    """
    compiled = hasattr(model, "_orig_mod")
    model = _as_written(model)
    if batch.images.is_floating_point() and not bool(torch.isfinite(batch.images).all()):
        rows = torch.isfinite(batch.images).flatten(1).all(1)
        bad = batch.index[~rows.to(batch.index.device)].tolist()
        return "the input", f"images {bad[:5]} of the data set"
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            return name, "the weights themselves"
    outputs: list[str] = []
    gradients: list[str] = []
    hooks = []
    for name, layer in model.named_modules():
        if not any(layer.children()):
            hooks.append(layer.register_forward_hook(partial(_look, name, outputs, gradients)))
    try:
        with torch.enable_grad():
            output = model(batch.images)
            logits = output if isinstance(output, Tensor) else output[0]
            value = interpolated(loss, logits.float(), batch)
            if outputs:
                return outputs[0], "its output"
            if not bool(torch.isfinite(value)):
                return "the loss", "its value, while all layers' outputs are finite"
            model.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
    finally:
        for hook in hooks:
            hook.remove()
    if gradients:
        return gradients[0], "the gradient of its output"
    place, kind = _of_weights(model)
    if compiled and place == "the model":
        return (
            place,
            "nothing as it is written, only as torch.compile made it: train.compile = false",
        )
    return place, kind


def _as_written(model: nn.Module) -> nn.Module:
    """The module inside torch.compile and DistributedDataParallel: hooks see its layers."""
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, nn.parallel.DistributedDataParallel):
        inner = model.module
    return model if inner is None else _as_written(inner)


def _of_weights(model: nn.Module) -> tuple[str, str]:
    """What is wrong with the weights' gradients, when those of all layers' outputs are finite."""
    largest = 0.0
    for name, weight in model.named_parameters():
        if weight.grad is None:
            continue
        if not bool(torch.isfinite(weight.grad).all()):
            return name, "its gradient"
        largest = max(largest, float(weight.grad.abs().max()))
    if largest > 1e15:  # its square, summed over the weights, leaves the range of float32
        return "the gradient", f"its norm; single values reach {largest:.2g}"
    return "the model", "nothing in this batch alone: a penalty, or the batch of another process"


def _look(
    name: str, outputs: list[str], gradients: list[str], _: nn.Module, __: Any, output: Any
) -> None:
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return
    if not bool(torch.isfinite(output).all()):
        outputs.append(name)
    if output.requires_grad:
        output.register_hook(  # type: ignore[no-untyped-call]
            lambda g: None if bool(torch.isfinite(g).all()) else gradients.append(name)
        )
