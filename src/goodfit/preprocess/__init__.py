"""Preprocessing: fitted on the training split alone, then a module stored with the model."""

from collections.abc import Iterator
from typing import ClassVar, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from goodfit.errors import DataError, ModelError, RecipeError
from goodfit.ingredient import Ingredient

_CHUNK_BYTES = 1 << 23  # of float64, so that statistics never copy all images


class Preprocess(Ingredient):
    """Base of all preprocessing settings.

    `fitted(images)` returns a copy in which every small value is explicit (means, scales); called,
    it makes the module that turns images (n, c, h, w), uint8 or float in 0..1, into the model's
    float input. Large arrays (a mean image, a whitening matrix) are not settings: they are
    buffers of the module, saved with the model. What is then explicit is their shape, so that a
    recipe alone builds a module into which a checkpoint can be loaded.
    """

    noun: ClassVar[str] = "preprocessing"

    def fitted(self, images: Tensor) -> Self:
        """The settings with their values from training images (m, c, h, w), uint8 or float."""
        return self

    def __call__(self) -> nn.Module:
        """The module. Raises RecipeError when values are needed that were never fitted."""
        raise NotImplementedError


class Affine(nn.Module):
    """y = scale * x + shift, with x in 0..1; keeps channels_last.

    Two simple steps, since torch's CPU kernels for both at once work number by number.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Float[Tensor, "#c #h #w"], shift: Float[Tensor, "#c #h #w"]) -> None:
        super().__init__()
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", shift.float())

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        channels, *sides = self.shift.shape
        if images.shape[1] != channels or any(
            side not in (1, given) for side, given in zip(sides, images.shape[2:], strict=True)
        ):
            raise ModelError(
                "the images have another shape than the preprocessing was made for",
                images=tuple(images.shape[1:]),
                preprocessing=tuple(self.shift.shape),
                fix="convert the images, or fit the preprocessing on images like these",
            )
        if images.is_floating_point():
            return torch.mul(images, self.scale).add_(self.shift)
        return images.float().mul_(self.scale * (1 / 255)).add_(self.shift)


def numbers_in(images: Shaped[Tensor, "m c h w"]) -> int:
    """How many numbers an image has. Raises DataError when there is nothing to be fitted on."""
    if images.ndim != 4 or not images.numel():
        raise DataError(
            "preprocessing is fitted on a batch of training images",
            shape=tuple(images.shape),
            fix="give images of shape (images, channels, rows, columns), at least one of them",
        )
    return images[0].numel()


def in_chunks(images: Shaped[Tensor, "m c h w"]) -> Iterator[Float[Tensor, "b c h w"]]:
    """The images as float64 in 0..255, some at a time. Raises DataError when there are none."""
    size = max(1, _CHUNK_BYTES // (8 * numbers_in(images)))
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        yield chunk.double() * 255 if chunk.is_floating_point() else chunk.double()


def rounded(values: Tensor) -> tuple[float, ...]:
    """Numbers as a recipe shows them: seven digits, as many as a float32 has."""
    return tuple(float(f"{value:.7g}") for value in values.tolist())


def same_channels(values: tuple[float, ...], others: tuple[float, ...]) -> None:
    """Refuse settings of different lengths, for use in validators."""
    if values and others and len(values) != len(others):
        raise ValueError(f"{len(values)} and {len(others)} channels: give as many of each")


def channel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std of every channel, pooled over pixels and images, in 0..1.

    The sums of uint8 images are exact: integers in float64 stay exact to 2**53.
    """
    total = square = torch.zeros((), dtype=torch.float64)
    count = 0
    for chunk in in_chunks(images):
        total = total + chunk.sum((0, 2, 3))
        square = square + (chunk * chunk).sum((0, 2, 3))
        count += chunk.shape[0] * chunk.shape[2] * chunk.shape[3]
    mean = total / count
    return mean / 255, (square / count - mean**2).clamp_min(0).sqrt() / 255


class Values(dict[str, Tensor]):
    """Fitted arrays too large for a recipe. They are no settings: all of them compare equal."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values)

    __hash__ = None


def unloaded(name: str, shape: tuple[int, ...] | None) -> Tensor:
    """A place for values that a checkpoint will bring: NaN, so that forgetting it shows."""
    if shape is None:
        raise RecipeError(
            f"{name} does not know the images' shape yet",
            fix="call fitted(training_images) first",
        )
    return torch.full(shape, torch.nan)
