"""Layers that learn a correction to their input: blocks y = relu(x + F(x)), so depth does no harm.

18, 34 are two-convolution blocks, 50, 101, 152 bottlenecks (1x1, 3x3 with the stride, 1x1), in
four stages of width 64 to 512. 8, 14, 20, 32, 44, 56, 110, ... = 6n + 2 are the CIFAR nets of the
same paper: three stages of n blocks, width 16 to 64, for images of about 32 pixels, with shortcuts
that have no parameters (every second pixel, new channels zero).

Start with the last gamma of every block at zero (`[[init]] kind = "residual"`) for large batches.
Not for images far smaller than 32 pixels or tables of numbers: `cnn` and `mlp` are enough.

Source: He et al. 2016, arXiv:1512.03385; the stride in the 3x3 is torchvision's and NVIDIA's v1.5.
Lecture: CNN architectures, ResNet.
"""

from typing import Annotated

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import AfterValidator
from torch import Tensor, nn

from goodfit.ingredient import Count
from goodfit.models._activation import NormedActivationName, activation
from goodfit.models._stem import StemModel

_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def _published(depth: int) -> int:
    if depth not in _BLOCKS and (depth < 8 or depth % 6 != 2):
        raise ValueError("18, 34, 50, 101 or 152; or 6n + 2 for the CIFAR nets: 8, 14, 20, 32, ...")
    return depth


class Basic(nn.Module):
    """Two 3x3 convolutions."""

    widening = 1

    def __init__(self, inputs: int, width: int, stride: int, shortcut: nn.Module, act: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act1, self.act2 = activation(act), activation(act)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.downsample(x)
        return self.act2(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones, the last four times as wide."""

    widening = 4

    def __init__(self, inputs: int, width: int, stride: int, shortcut: nn.Module, act: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.widening, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.widening)
        self.act1, self.act2, self.act3 = (activation(act) for _ in range(3))
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act1(self.bn1(self.conv1(x)))
        y = self.act2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.downsample(x)
        return self.act3(y)  # type: ignore[no-any-return]


class Subsample(nn.Module):
    """Every second pixel, and zeros for the new channels: a shortcut without parameters."""

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n cc hh ww"]:
        x = x[:, :, :: self.stride, :: self.stride]
        before = (self.channels - x.shape[1]) // 2
        return F.pad(x, (0, 0, 0, 0, before, self.channels - x.shape[1] - before))


class Net(nn.Module):
    """A stem, stages of residual blocks, the average over the picture, a linear classifier.

    Parameters are named and ordered as in torchvision, so that its weights can be loaded.
    """

    def __init__(self, settings: "ResNet", classes: int, channels: int) -> None:
        super().__init__()
        imagenet = settings.depth in _BLOCKS
        self.block = Bottleneck if settings.depth in (50, 101, 152) else Basic
        self.act_name, self.projects = settings.activation, imagenet
        blocks = _BLOCKS.get(settings.depth) or ((settings.depth - 2) // 6,) * 3
        base = settings.width or (64 if imagenet else 16)
        small = not imagenet or settings.stem == "small"
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(channels, base, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.act = activation(settings.activation)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs = base
        for stage, count in enumerate(blocks):
            width = base * 2**stage
            layers = [self._block(inputs, width, 1 if stage == 0 else 2)]
            inputs = width * self.block.widening
            layers += [self._block(inputs, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _block(self, inputs: int, width: int, stride: int) -> nn.Module:
        outputs = width * self.block.widening
        shortcut: nn.Module = nn.Identity()
        if (stride, inputs) != (1, outputs) and self.projects:
            shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        elif (stride, inputs) != (1, outputs):
            shortcut = Subsample(stride, outputs)
        return self.block(inputs, width, stride, shortcut, self.act_name)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class ResNet(StemModel):
    depth: Annotated[int, AfterValidator(_published)] = 18
    width: Count | None = None  # of the first stage; the published 64, or 16 for the CIFAR nets
    activation: NormedActivationName = "relu"

    def __call__(self, classes: int, channels: int = 3) -> Net:
        return Net(self, classes, channels)
