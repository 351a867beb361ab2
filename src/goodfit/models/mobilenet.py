"""Separable convolutions: a 3x3 within each channel, then a 1x1 across channels, 8 times less work.

Version 1 is a plain chain of them; 2 adds inverted residual blocks with linear bottlenecks; 3 is
found by search and adds squeeze-and-excitation and hard-swish ("large" or "small"). Fewer
multiplications do not always mean fewer seconds: on a GPU or with AVX-512 a small `resnet` is
often as fast. The small stem keeps the resolution of images of about 32 pixels in the first layer.

Source: Howard et al. 2017, arXiv:1704.04861; Sandler et al. 2018, arXiv:1801.04381; Howard et al.
2019, arXiv:1905.02244. Lecture: CNN architectures, MobileNets.
"""

from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from goodfit.ingredient import Positive
from goodfit.models._stem import StemModel, with_channels, with_small_stem
from goodfit.models.torchvision import build

_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2))


class First(nn.Module):
    """Version 1: a convolution, thirteen separable ones, the average, a linear classifier."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        outputs = [int(32 * width), *(int(w * width) for w, _ in _V1), int(1024 * width)]
        layers: list[nn.Module] = [*_convolution(3, outputs[0], 3, 2)]
        strides = [stride for _, stride in _V1] + [1]
        for i, o, stride in zip(outputs, outputs[1:], strides, strict=False):
            layers += [*_convolution(i, i, 3, stride, groups=i), *_convolution(i, o, 1, 1)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(outputs[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def _convolution(i: int, o: int, side: int, stride: int, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(i, o, side, stride, side // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(o), nn.ReLU(inplace=True)]


class MobileNet(StemModel):
    version: Literal[1, 2, 3] = 2
    size: Literal["large", "small"] = "large"  # of version 3
    width: Positive = 1.0  # factor on all widths

    @model_validator(mode="after")
    def _small_is_version_3(self) -> "MobileNet":
        if self.size == "small" and self.version != 3:
            raise ValueError('only version 3 has size = "small"; versions 1 and 2 have `width`')
        return self

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        if self.version == 1:
            net: nn.Module = First(classes, self.width)
        elif self.version == 2:
            net = build("mobilenet_v2", classes, width_mult=self.width)
        else:
            net = build(f"mobilenet_v3_{self.size}", classes, width_mult=self.width)
        with_channels(net, channels)
        return with_small_stem(net) if self.stem == "small" else net
