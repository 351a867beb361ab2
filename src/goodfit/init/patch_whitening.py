"""Let the first convolution whiten small patches, with filters found from training images.

    filter_j = u_j / sqrt(l_j + eps), and -filter_j;   covariance of k x k patches = U L U^T

The responses are uncorrelated and of about unit variance where l_j is above eps, and with both
signs nothing is lost to a ReLU. The filters are frozen; a bias stays trainable and starts at zero.
Filters with the largest variances come first where the convolution has fewer than two for each
number of a patch. For short runs on small images, with `fast-net`; longer runs learn as good a
first layer.

Source: Jordan 2024, arXiv:2404.00498; Page 2018, "How to train your ResNet". Lecture: Data
Preprocessing; Weight Initialization.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.ingredient import Positive
from goodfit.init import Init, Initialized


class PatchWhitening(Init):
    needs_images: ClassVar[bool] = True
    eps: Positive = 5e-4  # added to every variance; belongs to the scale of the normalized pixels

    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor | None = None) -> Initialized:
        if images is None:
            raise ModelError(
                "patch-whitening needs a batch of images to look at",
                fix="call it with (model, images), the images preprocessed as in training",
            )
        name, conv = _first(model)
        filters = whitening_filters(images, conv.kernel_size[0], self.eps)
        half = conv.out_channels // 2
        if conv.weight.shape[1:] != filters.shape[1:] or half > len(filters):
            raise ModelError(
                "this convolution cannot whiten patches",
                at=name,
                weight=tuple(conv.weight.shape),
                wanted=f"at most {2 * len(filters)} filters of {tuple(filters.shape[1:])}",
                fix='use model kind "fast-net", or remove this initialization',
            )
        conv.weight.zero_()
        conv.weight[:half], conv.weight[half : 2 * half] = filters[:half], -filters[:half]
        conv.weight.requires_grad_(False)
        touched = [f"{name}.weight"]
        if conv.bias is not None:
            conv.bias.zero_()
            touched.append(f"{name}.bias")
        others = [n for n, _ in model.named_parameters() if n not in touched]
        return Initialized(tuple(touched), tuple((n, "not the first convolution") for n in others))


def whitening_filters(
    images: Float[Tensor, "n c h w"], kernel: int, eps: float
) -> Float[Tensor, "o c k k"]:
    """The filters of one sign, by falling variance, for images as the convolution sees them.

    The mean of the patches is not removed: the convolution has no use for it.
    """
    channels, d = images.shape[1], images.shape[1] * kernel**2
    square = torch.zeros(d, d, dtype=torch.float64, device=images.device)
    count = 0
    for start in range(0, len(images), 64):
        patches = images[start : start + 64].unfold(2, kernel, 1).unfold(3, kernel, 1)
        x = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, d).double()
        square.addmm_(x.T, x)
        count += len(x)
    variances, axes = torch.linalg.eigh(square / count)
    variances, axes = variances.flip(0).clamp_min(0), axes.flip(1)
    axes = axes * axes[axes.abs().argmax(0), torch.arange(d, device=axes.device)].sign()
    filters: Tensor = (axes / (variances + eps).sqrt()).T
    return filters.reshape(d, channels, kernel, kernel).to(images.dtype)


def _first(model: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no convolution", fix="remove patch-whitening from the recipe"
    )
