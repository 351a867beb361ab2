"""Nothing but 3x3 convolutions, 11 to 19 layers deep, the width doubled whenever the side halves.

Two 3x3 see as much as one 5x5 with fewer parameters. Without batch norm the deep ones need care
(Kaiming initialization, warmup). 124 of the 138 million parameters of VGG-16 are in the linear
layers. The small stem, for images of about 32 pixels, has one linear layer on the average over
the picture instead, as is usual on CIFAR. Parameters are named as in torchvision.

Source: Simonyan & Zisserman 2015, arXiv:1409.1556. Lecture: CNN architectures, VGG.
"""

from collections import OrderedDict
from typing import Literal

from pydantic import Field
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.models._halve import Halve
from goodfit.models._head import wide_head
from goodfit.models._stem import StemModel

_STAGES = {11: (1, 1, 2, 2, 2), 13: (2,) * 5, 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


class VGG(StemModel):
    depth: Literal[11, 13, 16, 19] = 16
    norm: bool = True  # batch norm behind every convolution; the paper had none
    hidden: Count = 4096  # of the full stem
    dropout: Fraction = Field(default=0.5, lt=1)

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        small = self.stem == "small"
        head = (
            nn.Linear(512, classes)
            if small
            else wide_head(512 * 7**2, self.hidden, classes, self.dropout)
        )
        parts: list[tuple[str, nn.Module]] = [
            ("features", nn.Sequential(*self._features(channels))),
            ("avgpool", nn.AdaptiveAvgPool2d(1 if small else 7)),
            ("flatten", nn.Flatten()),
            ("classifier", head),
        ]
        return nn.Sequential(OrderedDict(parts))

    def _features(self, channels: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for count, width in zip(_STAGES[self.depth], _WIDTHS, strict=True):
            for _ in range(count):
                conv = nn.Conv2d(channels, width, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
                norm = [nn.BatchNorm2d(width)] if self.norm else []
                layers += [conv, *norm, nn.ReLU(inplace=True)]
                channels = width
            layers.append(Halve())
        return layers
