"""Split the channels, work on one half, and shuffle: few multiplications and few memory accesses.

It is version 2, whose rules come from measured time instead of counted multiplications. `width`
is one of the published four. The small stem keeps the resolution of images of about 32 pixels in
the first layers.

Source: Ma et al. 2018, arXiv:1807.11164; Zhang et al. 2018, arXiv:1707.01083. Lecture: CNN
architectures, ShuffleNet.
"""

from typing import Literal

from torch import nn

from goodfit.models._stem import StemModel, with_channels, with_small_stem
from goodfit.models.torchvision import build

_NAMES = {0.5: "x0_5", 1.0: "x1_0", 1.5: "x1_5", 2.0: "x2_0"}


class ShuffleNet(StemModel):
    width: Literal[0.5, 1.0, 1.5, 2.0] = 1.0  # type: ignore[valid-type]

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        net = with_channels(build(f"shufflenet_v2_{_NAMES[self.width]}", classes), channels)
        return with_small_stem(net) if self.stem == "small" else net
