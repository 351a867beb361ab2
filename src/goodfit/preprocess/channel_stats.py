"""Subtract each channel's mean and divide by its standard deviation.

    y = (x - mean_c) / std_c,   mean and std pooled over all pixels of all training images

The std is the pooled one, not the mean of the images' own: on ImageNet the widespread
.229/.224/.225 are near the latter, the pooled ones are .26/.25/.27. A net that comes with weights
must see what it was trained on: `constants = "imagenet"` (or "inception", mean and std one half)
takes the published numbers and fits nothing. At test time the same numbers are used.

Source: the torch implementation of He et al. 2015, arXiv:1512.03385 (the paper subtracts the
mean image). Lecture: Data Preprocessing.
"""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from goodfit.errors import RecipeError
from goodfit.ingredient import Fraction, Positive
from goodfit.preprocess import Affine, Preprocess, channel_moments, rounded, same_channels

_KNOWN = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


class ChannelStats(Preprocess):
    mean: tuple[Fraction, ...] = ()  # per channel, of pixels in 0..1; empty until fitted
    std: tuple[Positive, ...] = ()
    constants: Literal["own", "imagenet", "inception"] = "own"
    least_std: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1 / 255  # a flat channel

    @model_validator(mode="after")
    def _both(self) -> "ChannelStats":
        same_channels(self.mean, self.std)
        if bool(self.mean) != bool(self.std):
            raise ValueError("give mean and std, or neither to have them fitted")
        if self.mean and self.constants != "own":
            raise ValueError(f"own mean and std contradict constants = {self.constants!r}")
        return self

    def fitted(self, images: Tensor) -> Self:
        if self.mean or self.constants != "own":
            return self
        mean, std = channel_moments(images)
        return self.replaced(mean=rounded(mean), std=rounded(std.clamp_min(self.least_std)))

    def __call__(self) -> nn.Module:
        mean, std = _KNOWN.get(self.constants, (self.mean, self.std))
        if not mean:
            raise RecipeError(
                "channel-stats has no mean and std yet",
                fix="call fitted(training_images) first, or set mean and std",
            )
        shape = (-1, 1, 1)
        scale = 1 / torch.tensor(std, dtype=torch.float64)
        return Affine(scale.view(shape), (-scale * torch.tensor(mean)).view(shape))
