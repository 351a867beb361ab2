"""Nothing but 3x3 convolutions, 11 to 19 layers deep, the width doubled whenever the side halves.

Two 3x3 see as much as one 5x5 with fewer parameters. Without batch norm the deep ones need care
(Kaiming initialization, warmup). 124 of the 138 million parameters of VGG-16 are in the linear
layers. The small stem, for images of about 32 pixels, has one linear layer on the average over
the picture instead, as is usual on CIFAR.

Source: Simonyan & Zisserman 2015, arXiv:1409.1556. Lecture: CNN architectures, VGG.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.models._head import wide_head
from goodfit.models._stem import StemModel, with_channels
from goodfit.models.torchvision import build


class VGG(StemModel):
    depth: Literal[11, 13, 16, 19] = 16
    norm: bool = True  # batch norm behind every convolution; the paper had none
    hidden: Count = 4096
    dropout: Fraction = Field(default=0.5, lt=1)

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        arch = f"vgg{self.depth}_bn" if self.norm else f"vgg{self.depth}"
        net = with_channels(build(arch, classes), channels)
        if self.stem == "small":
            net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)
        else:
            net.classifier = wide_head(512 * 7**2, self.hidden, classes, self.dropout)
        return net
