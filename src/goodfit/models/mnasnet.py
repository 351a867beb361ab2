"""Blocks found by a search that was paid for measured time on a phone, not for multiplications.

Separable convolutions with kernels of 3 and 5 in inverted residual blocks, as in `mobilenet`
version 2, in numbers that the search chose. The small stem keeps the resolution of images of
about 32 pixels in the first layer.

Source: Tan et al. 2019, arXiv:1807.11626. Lecture: CNN architectures, Neural architecture search.
"""

from typing import Annotated

import torchvision
from pydantic import Field
from torch import nn

from goodfit.models._stem import StemModel, with_channels, with_small_stem


class MNASNet(StemModel):
    width: Annotated[float, Field(gt=0, le=4)] = 1.0  # factor on all widths; 0.5, 0.75, 1.3 in use
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        # torchvision's builders fix the width by their names, its class does not
        net = with_channels(torchvision.models.MNASNet(self.width, classes, self.dropout), channels)
        return with_small_stem(net) if self.stem == "small" else net
