"""Two cells found by reinforcement learning on CIFAR-10, stacked to any size.

"large" is NASNet-A (6 @ 4032), 89 million parameters for images of 331 pixels; "small" is
NASNet-A (6 @ 1056), 7 million, for 224 pixels and fewer. The small stem keeps the resolution of
images of about 32 pixels in the first layer. Accurate, but slow for its size: many small
operations.

The net is timm's and needs the extra `timm`.

Source: Zoph et al. 2018, arXiv:1707.07012. Lecture: CNN architectures, Neural architecture search.
"""

from typing import Literal

from torch import nn

from goodfit.models._stem import StemModel, with_small_stem
from goodfit.models.timm import Timm

_SMALL: dict[str, bool | int | float | str] = {
    "stem_size": 32,
    "channel_multiplier": 2,
    "num_features": 1056,
}


class NASNet(StemModel):
    size: Literal["small", "large"] = "small"

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        options = _SMALL if self.size == "small" else {}
        net = Timm(arch="nasnetalarge", options=options)(classes, channels)
        return with_small_stem(net) if self.stem == "small" else net
