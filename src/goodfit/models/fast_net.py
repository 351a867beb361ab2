"""A compact net for images of about 32 pixels: the best accuracy for the seconds it takes.

    whitening convolution (fixed) → activation → groups → largest value over the picture → linear

A group is convolution, 2x2 max pooling, norm, activation, then further convolutions with norm and
activation. The first convolution makes the pixels of a patch uncorrelated with variance 1, from
the training images, and stays so (`[[init]] kind = "patch-whitening"`); its filters come in pairs
of opposite sign. Convolutions start as the identity on their first channels, norms learn only a
shift, and the logits are scaled down so that large learning rates work.

Not for images larger than 64 pixels, and not for training over hundreds of epochs: `resnet`.

Source: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498; Page
2018, "How to train your ResNet". Lecture: CNN architectures; Training recipes.
"""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from goodfit.ingredient import Count, Positive
from goodfit.models import Model
from goodfit.models._activation import NormedActivationName, activation
from goodfit.models._halve import Halve


class Group(nn.Sequential):
    """Convolution, pooling, norm, activation; then further convolutions of the same width."""

    def __init__(self, inputs: int, width: int, settings: "FastNet") -> None:
        layers: list[nn.Module] = []
        for place in range(settings.per_group):
            conv = nn.Conv2d(width if place else inputs, width, 3, padding=1, bias=False)
            nn.init.dirac_(conv.weight[: conv.in_channels])
            norm = nn.BatchNorm2d(width, momentum=settings.norm_momentum)
            norm.weight.requires_grad_(False)
            pool = [] if place else [Halve()]
            layers += [conv, *pool, norm, activation(settings.activation)]
        super().__init__(*layers)


class Net(nn.Module):
    """See the module's page."""

    def __init__(self, settings: "FastNet", classes: int, channels: int) -> None:
        super().__init__()
        patch, stride = settings.patch, settings.stride
        filters = settings.whitening or 2 * channels * patch**2
        pad = (patch - stride + 1) // 2 if stride > 1 else 0
        self.whiten = nn.Conv2d(channels, filters, patch, stride, pad)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        self.act = activation(settings.activation)
        inputs = [filters, *settings.widths]
        self.groups = nn.Sequential(
            *(Group(i, o, settings) for i, o in zip(inputs, settings.widths, strict=False))
        )
        self.head = nn.Linear(inputs[-1], classes, bias=False)
        nn.init.normal_(self.head.weight, std=0.3)
        self.scale = settings.logit_scale / inputs[-1]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        x = self.groups(self.act(self.whiten(x)))
        logits: Tensor = self.head(_largest(x))
        return logits * self.scale


def _largest(x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d"]:
    """The largest value of every channel.

    Not by amax in compiled code: its gradient goes where the input equals the result, and code
    that computes the input anew, unrounded, finds no such place and divides by zero.
    """
    return x.flatten(2).max(2).values if torch.compiler.is_compiling() else x.amax((2, 3))


class FastNet(Model):
    widths: tuple[Count, ...] = Field(default=(64, 128, 256), min_length=1)  # of the groups
    per_group: Count = 2  # convolutions
    patch: Annotated[int, Field(ge=1, le=8)] = 2  # side of the whitened patches, in pixels
    stride: Annotated[int, Field(ge=1, le=8)] = 1
    whitening: Count | None = None  # filters, even; None: twice the numbers of a patch
    activation: NormedActivationName = "gelu"
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.4  # share of the newest batch
    logit_scale: Positive = 10.0  # times the head's mean product; sets how fast the head learns

    @model_validator(mode="after")
    def _fits(self) -> "FastNet":
        if self.stride > self.patch:
            raise ValueError("stride cannot be larger than patch: pixels would be left out")
        return self

    def __call__(self, classes: int, channels: int = 3) -> Net:
        return Net(self, classes, channels)
