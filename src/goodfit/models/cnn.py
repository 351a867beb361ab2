"""The convolutional net of the lecture: convolution, norm, activation, and pooling between stages.

    [conv 3x3 → norm → activation] x per_stage → max pooling, for every width; average; linear

Pooling stops when the picture is down to one pixel, so any image size will do. A first net for
small images and for experiments with activations and initializations; `resnet` is the stronger
one, `fast-net` the faster one.

Source: LeCun et al. 1998; the order of layers is that of Ioffe & Szegedy 2015, arXiv:1502.03167.
Lecture: Convolutional networks; Activation functions.
"""

from pydantic import Field, model_validator
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.layers.maxout import MaxoutConv2d
from goodfit.models import Model
from goodfit.models._activation import ActivationName, activation, beside_batch_norm
from goodfit.models._halve import Halve


class CNN(Model):
    widths: tuple[Count, ...] = Field(default=(32, 64, 128), min_length=1)  # of the stages
    per_stage: Count = 1  # convolutions in a stage
    kernel: Count = 3
    activation: ActivationName = "relu"  # "maxout" takes the largest of `pieces` convolutions
    pieces: Count = 2
    norm: bool = True  # batch norm behind every convolution
    dropout: Fraction = Field(default=0.0, lt=1)  # before the classifier

    @model_validator(mode="after")
    def _fits(self) -> "CNN":
        if self.norm:
            beside_batch_norm(self.activation)
        return self

    def __call__(self, classes: int, channels: int = 3) -> nn.Sequential:
        layers: list[nn.Module] = []
        inputs = channels
        for stage, width in enumerate(self.widths):
            layers += [Halve()] if stage else []
            for _ in range(self.per_stage):
                layers += self._convolution(inputs, width)
                inputs = width
        drop = [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *drop, nn.Linear(inputs, classes)
        )

    def _convolution(self, inputs: int, width: int) -> list[nn.Module]:
        pad = self.kernel // 2
        norm: list[nn.Module] = [nn.BatchNorm2d(width)] if self.norm else []
        if self.activation == "maxout":
            return [MaxoutConv2d(inputs, width, self.kernel, self.pieces, padding=pad), *norm]
        conv = nn.Conv2d(inputs, width, self.kernel, padding=pad, bias=not self.norm)
        return [conv, *norm, activation(self.activation)]
