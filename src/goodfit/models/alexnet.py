"""Five convolutions and three wide linear layers: the net that began it all, in 2012.

It is the single-column variant that torchvision has, with 64 to 256 filters and no response
normalization. Use dropout, flips and random crops with it: 58 of its 61 million parameters are in
the linear layers. `resnet` with depth 18 is better in everything.

The small stem reads images of about 32 pixels and has hidden layers of 512.

Source: Krizhevsky 2014, arXiv:1404.5997; Krizhevsky et al. 2012. Lecture: CNN architectures,
AlexNet.
"""

from pydantic import Field
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.models._head import wide_head
from goodfit.models._stem import StemModel, with_channels, with_small_stem
from goodfit.models.torchvision import build


class AlexNet(StemModel):
    hidden: Count | None = None  # None: 4096, or 512 with the small stem
    dropout: Fraction = Field(default=0.5, lt=1)

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        small = self.stem == "small"
        net = with_channels(build("alexnet", classes), channels)
        if small:
            with_small_stem(net)
        side, hidden = (2, 512) if small else (6, 4096)
        net.avgpool = nn.AdaptiveAvgPool2d(side)
        net.classifier = wide_head(256 * side**2, self.hidden or hidden, classes, self.dropout)
        return net
