"""Turn all colors of an image around the color circle.

    f(x, z) = R(2π z) x;   R turns around the gray axis of the color cube, z ~ U(-turns, turns)

A rotation keeps grays and each pixel's mean over the channels. HSV's shift of the hue, which others
use, is not affine; both agree at thirds of a turn. Images of one or two channels have no hue and
stay as they are; a fourth channel keeps its own.

At test time the image is used as it is, or random draws are averaged. Not where color decides the
class.

Source: Krizhevsky et al. 2012 for the idea, Rodrigues' formula for the rotation. Lecture: Data
Augmentation, Color Jitter.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._color import Colors, Mean, Photometric, hue_turned
from goodfit.augment._settings import Turns
from goodfit.batch import Batch
from goodfit.rand import Rng


class Hue(Photometric):
    turns: Turns = 0.1  # of the color circle, to either side

    def draw(self, batch: Batch, rng: Rng) -> Float[Tensor, " n"]:
        return rng.uniform(-self.turns, self.turns)

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Float[Tensor, " n"]:
        return torch.where(applied, z, 0.0)

    def colors(self, z: Float[Tensor, " n"], mean: Mean) -> Colors:
        return hue_turned(z, mean)
