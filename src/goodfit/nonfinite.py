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
    layer's gradient in backward order. Gradients and batch-norm buffers of the model are touched.
    """
    if batch.images.is_floating_point() and not bool(torch.isfinite(batch.images).all()):
        rows = torch.isfinite(batch.images).flatten(1).all(1)
        bad = batch.index[~rows].tolist()
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
            value.backward()  # type: ignore[no-untyped-call]
    finally:
        for hook in hooks:
            hook.remove()
    return (gradients[0], "the gradient of its output") if gradients else ("the model", "unknown")


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
