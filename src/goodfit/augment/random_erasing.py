"""Paint over one random rectangle of each image, with a probability of one half.

    f(x, z) = fill inside the rectangle z, x outside;   area ~ U(area), log ratio ~ U(log ratio)

Ten rectangles are tried per image; the first that fits inside is taken, so unlike cutout's square
nothing is cut off, and the hidden share is the area drawn. `fill` is gray, a color, "mean" (the
training set's mean color, by `fitted`) or "noise" (each pixel its own random color, as in the
paper).

At test time the whole image is used. Not together with a strong cutout: both hide.

Source: Zhong et al. 2017, arXiv:1708.04896. Lecture: Regularization, Cutout.
"""

from math import log
from typing import ClassVar, Literal, NamedTuple, Self

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from goodfit.augment import Augmentation, Marginal
from goodfit.augment._geometry import fitting
from goodfit.augment._hiding import Fill, by_mean, mean_fill, paint_of, painted, spans
from goodfit.augment._settings import FractionRange, PositiveRange
from goodfit.batch import Batch, Images
from goodfit.ingredient import Fraction
from goodfit.rand import Rng

_TRIES = 10


class Hole(NamedTuple):
    """A rectangle, ends exclusive, and the noise to see in it, if any: levels of 256."""

    top: Int[Tensor, " n"]
    bottom: Int[Tensor, " n"]
    left: Int[Tensor, " n"]
    right: Int[Tensor, " n"]
    noise: Shaped[Tensor, "n c h w"]


class RandomErasing(Augmentation):
    marginal: ClassVar[Marginal] = "identity"
    draws_by_shape: ClassVar[bool] = True
    prob: Fraction = 0.5
    area: FractionRange = (0.02, 0.33)  # of the image
    ratio: PositiveRange = (0.3, 3.3)  # height over width
    fill: Fill | Literal["noise"] = 0.5

    def fitted(self, images: Images) -> Self:
        return self.replaced(fill=mean_fill(images)) if by_mean(self.fill) else self

    def draw(self, batch: Batch, rng: Rng) -> Hole:
        n, c, h, w = batch.images.shape
        u = rng.uniforms(2 * _TRIES + 2)
        area = (self.area[0] + (self.area[1] - self.area[0]) * u[:, :_TRIES]) * (h * w)
        low, high = log(self.ratio[0]), log(self.ratio[1])
        root = (0.5 * (low + (high - low) * u[:, _TRIES : 2 * _TRIES])).exp()  # √ratio
        none = torch.zeros(1, dtype=torch.int64, device=u.device)
        side, image = area.sqrt(), (none + h, none + w)
        high_, wide = fitting(side * root, side / root, (none, none), image)
        top, left = (u[:, -2] * (h - high_ + 1)).long(), (u[:, -1] * (w - wide + 1)).long()
        noise = torch.zeros(n, 0, 0, 0, dtype=torch.uint8, device=u.device)
        if self.fill == "noise":
            words = rng.words(-(-c * h * w // 4))
            levels = torch.stack([words >> shift & 255 for shift in (0, 8, 16, 24)], dim=2)
            noise = levels.view(n, -1)[:, : c * h * w].to(torch.uint8).view(n, c, h, w)
        return Hole(top, top + high_, left, left + wide, noise)

    def only(self, batch: Batch, z: Hole, applied: Tensor) -> Hole:
        return z._replace(bottom=torch.where(applied, z.bottom, z.top))  # an empty rectangle

    def given(self, batch: Batch, z: Hole) -> Batch:
        images, fill = batch.images, self.fill
        rows, columns = (
            spans(start, end, side)
            for start, end, side in zip(z[0:4:2], z[1:4:2], images.shape[-2:], strict=True)
        )
        if fill != "noise":
            paint = paint_of(fill, images)
        elif images.is_floating_point():
            paint = z.noise.to(images.dtype) * (1 / 255)
        else:
            paint = z.noise
        return batch.with_images(painted(images, rows, columns, paint))
