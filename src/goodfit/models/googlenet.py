"""Inception: every block looks at 1x1, 3x3, 5x5 and pooling at once, after 1x1 that save work.

    loss = loss(logits) + aux_weight * (loss(aux 1) + loss(aux 2))     while training

Two auxiliary classifiers half way up push gradient into the early layers. They are part of the
training loss with weight `aux_weight` and are not evaluated at all at test time. The net is
torchvision's, with batch norm.

Source: Szegedy et al. 2015, arXiv:1409.4842. Lecture: CNN architectures, GoogLeNet.
"""

from torch import nn

from goodfit.ingredient import Fraction
from goodfit.models._stem import StemModel, with_channels, with_small_stem
from goodfit.models.torchvision import build


class GoogLeNet(StemModel):
    aux_weight: Fraction = 0.3  # of each auxiliary loss; 0: without auxiliary heads

    def __call__(self, classes: int, channels: int = 3) -> nn.Module:
        net = build("googlenet", classes, aux_logits=self.aux_weight > 0)
        net.aux_weight = self.aux_weight  # type: ignore[assignment]
        with_channels(net, channels)
        return with_small_stem(net) if self.stem == "small" else net
