"""Linear layers with an activation between them, on the pixels as one long vector.

    h_0 = x;   h_l = f(W_l h_{l-1} + b_l);   logits = W h_L + b

Images are averaged down to `side` pixels first. It knows nothing of neighborhoods, so it needs
more images than a `cnn` for the same accuracy: for digits and for teaching.

Source: Rumelhart et al. 1986. Lecture: Neural networks; Activation functions.
"""

from pydantic import Field
from torch import nn

from goodfit.ingredient import Count, Fraction
from goodfit.layers.maxout import MaxoutLinear
from goodfit.models import Model
from goodfit.models._activation import ActivationName, activation


class MLP(Model):
    hidden: tuple[Count, ...] = (256, 128)
    activation: ActivationName = "relu"  # "maxout" takes the largest of `pieces` linear layers
    pieces: Count = 2
    dropout: Fraction = Field(default=0.0, lt=1)  # behind every hidden layer
    side: Count | None = None  # None: that of the images, at most 32

    def suited(self, side: int) -> "MLP":
        return self if self.side else self.replaced(side=min(side, 32))

    def __call__(self, classes: int, channels: int = 3) -> nn.Sequential:
        side = self.side or 32
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
        inputs = channels * side**2
        for width in self.hidden:
            layers += self._hidden(inputs, width)
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, classes))

    def _hidden(self, inputs: int, width: int) -> list[nn.Module]:
        drop = [nn.Dropout(self.dropout)] if self.dropout else []
        if self.activation == "maxout":
            return [MaxoutLinear(inputs, width, self.pieces), *drop]
        return [nn.Linear(inputs, width), activation(self.activation), *drop]
