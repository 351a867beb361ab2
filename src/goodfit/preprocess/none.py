"""Give the model the pixels as they are, as floats in 0..1.

    y = x

For models that normalize by themselves, and to see what preprocessing is worth: inputs that are
all positive push all weights of a unit in the same direction. At test time the same is done.

Source: LeCun et al. 1998, "Efficient BackProp" (why it hurts). Lecture: Data Preprocessing.
"""

from torch import Tensor, nn

from goodfit.batch import as_float
from goodfit.preprocess import Preprocess


class Unchanged(Preprocess):
    def __call__(self) -> nn.Module:
        return Pixels()


class Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return as_float(images)
