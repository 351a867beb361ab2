"""AlexNet with a finer first look: 7x7 with stride 2 instead of 11x11 with stride 4.

Its authors saw in pictures of the first filters that the coarse stride left gaps. `wide` makes
the last three convolutions 512, 1024, 512 instead of 384, 384, 256, their best single net. The
small stem reads images of about 32 pixels and has hidden layers of 512.

Source: Zeiler & Fergus 2014, arXiv:1311.2901. Lecture: CNN architectures, ZFNet.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.models._head import wide_head
from goodfit.models._stem import StemModel


class ZFNet(StemModel):
    wide: bool = False
    norm: Literal["response", "batch", "none"] = "response"  # response: the paper's
    hidden: Count | None = None  # None: 4096, or 512 with the small stem
    dropout: Fraction = Field(default=0.5, lt=1)

    def __call__(self, classes: int, channels: int = 3) -> nn.Sequential:
        small = self.stem == "small"
        last = (512, 1024, 512) if self.wide else (384, 384, 256)
        first = (
            [*self._convolution(channels, 96, 3, 1), *self._convolution(96, 256, 3, 2)]
            if small
            else [
                *(*self._convolution(channels, 96, 7, 2), nn.MaxPool2d(3, 2, 1)),
                *(*self._convolution(96, 256, 5, 2), nn.MaxPool2d(3, 2, 1)),
            ]
        )
        body: list[nn.Module] = []
        for inputs, outputs in zip((256, *last), last, strict=False):
            body += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        side, hidden = (2, 512) if small else (6, 4096)
        return nn.Sequential(
            *(*first, *body, nn.AdaptiveMaxPool2d(side), nn.Flatten()),
            wide_head(last[-1] * side**2, self.hidden or hidden, classes, self.dropout),
        )

    def _convolution(self, inputs: int, outputs: int, side: int, stride: int) -> list[nn.Module]:
        norm: dict[str, list[nn.Module]] = {
            "response": [nn.LocalResponseNorm(5, alpha=5e-4, k=2.0)],
            "batch": [nn.BatchNorm2d(outputs)],
            "none": [],
        }
        conv = nn.Conv2d(inputs, outputs, side, stride, side // 2)
        if self.norm == "batch":
            return [conv, *norm["batch"], nn.ReLU(inplace=True)]
        return [conv, nn.ReLU(inplace=True), *norm[self.norm]]
