"""Scale each layer until a real batch leaves it with unit variance.

    W ← orthogonal,   b = 0;   W ← W / std(W x)   layer by layer, on the batch's own activations

Data-driven: it needs a batch of preprocessed training images and no theory of the activations.
One pass is enough, since a layer's output is linear in its weight: it is rescaled on the way. For
deep nets without norms; with norms after each layer `kaiming` does as well.

Source: Mishkin & Matas 2016, arXiv:1511.06422. Lecture: Weight Initialization.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.ingredient import Positive
from goodfit.init import Init, Initialized, Weighted, draw_orthogonal, each_layer, weighted


class LSUV(Init):
    needs_images: ClassVar[bool] = True
    std: Positive = 1.0  # of every layer's output
    least: Positive = 1e-6  # an output that varies less is left alone

    def __call__(self, model: nn.Module, images: Tensor | None = None) -> Initialized:
        if images is None:
            raise ModelError(
                "lsuv needs a batch of images to look at",
                fix="call it with (model, images), the images preprocessed as in training",
            )
        report = each_layer(model, lambda _, layer: draw_orthogonal(layer.weight, layer, 1.0))
        places = {layer: place for place, layer in weighted(model) if layer.weight.requires_grad}
        scaled: dict[str, bool] = {}

        def rescale(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
            assert isinstance(layer, Weighted)
            if places[layer] in scaled:  # shared: its first use decides
                return output
            spread = output.float().std()
            scaled[places[layer]] = varies = bool(spread > self.least)
            if not varies:
                return output
            layer.weight.mul_(self.std / spread)
            return output * (self.std / spread)

        hooks = [layer.register_forward_hook(rescale) for layer in places]
        _run(model, images, hooks)
        left = [(f"{p}.weight", "its output does not vary") for p, ok in scaled.items() if not ok]
        left += [
            (f"{p}.weight", "orthogonal, not scaled: the batch did not reach it")
            for p in places.values()
            if p not in scaled
        ]
        return report._replace(left=(*left, *report.left))


@torch.no_grad()
def _run(model: nn.Module, images: Tensor, hooks: list[Any]) -> None:
    """One pass with batch norm in training and the rest in evaluation; buffers as before."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(b, b.clone()) for b in model.buffers()]
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
        for buffer, before in buffers:
            buffer.copy_(before)
