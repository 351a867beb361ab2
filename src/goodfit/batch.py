"""A batch of images and what is known about each of them; the dimension letters of the house.

n  images in the batch      c  channels (1 to 4)      h, w  rows and columns of pixels
k  classes                  d  features               i, o  inputs and outputs of a layer
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Images = Shaped[Tensor, "n c h w"]  # uint8 in 0..255 or float in 0..1
Targets = Float[Tensor, "n k"]  # class probabilities; a row sums to 1


class Part(NamedTuple):
    """One of the images that were mixed: its share of the mixture and its own targets."""

    weight: Float[Tensor, " n"]
    targets: Targets


class Batch(NamedTuple):
    """Images with their targets, on one device, and the samples' index.

    images: (n, c, h, w), uint8 in 0..255 or float in 0..1.
    targets: (n, k), class probabilities; after mixing, the mixture's.
    index: (n,), each sample's place in its data set; together with `epoch` it names every draw.
        Best on the CPU, wherever the images are: there draws are made fastest.
    epoch: how often the data set was gone through before.
    parts: what mixing blended, empty when nothing was mixed. The loss is interpolated over the
        parts, so mixing is right for losses that are not linear in the targets, too.
    """

    images: Images
    targets: Targets
    index: Int[Tensor, " n"]  # type: ignore[assignment]  # hides tuple.index, which has no use
    epoch: int = 0
    parts: tuple[Part, ...] = ()

    def mixed(
        self, images: Images, weight: Float[Tensor, " n"], partner: Int[Tensor, " n"]
    ) -> "Batch":
        """`images` as the blend of each sample (share `weight`) with its `partner` in the batch.

        Works on batches that were mixed before: the parts multiply out.
        """
        old = self.parts or (Part(torch.ones_like(weight), self.targets),)
        first = tuple(Part(weight * p.weight, p.targets) for p in old)
        second = tuple(Part((1 - weight) * p.weight[partner], p.targets[partner]) for p in old)
        targets = self.targets.lerp(self.targets[partner], (1 - weight)[:, None])
        return Batch(images, targets, self.index, self.epoch, first + second)

    def with_images(self, images: Images) -> "Batch":
        """The same samples, shown otherwise: `_replace`, in words that every compiler reads."""
        return Batch(images, self.targets, self.index, self.epoch, self.parts)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device; the index stays where it is."""
        parts = tuple(Part(p.weight.to(device), p.targets.to(device)) for p in self.parts)
        images, targets = self.images.to(device, non_blocking=True), self.targets.to(device)
        return Batch(images, targets, self.index, self.epoch, parts)


def as_float(images: Images) -> Float[Tensor, "n c h w"]:
    """Images as float in 0..1; float images are returned as they are."""
    return images if images.is_floating_point() else images.float().mul_(1 / 255)


def per_image(values: Shaped[Tensor, " n"], images: Images) -> Shaped[Tensor, "n 1 1 1"]:
    """One number per image, shaped so that it broadcasts over the image."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))


def everywhere(batch: Batch, number: int) -> Int[Tensor, " n"]:
    """The same number for every image, where the images are."""
    shape = (len(batch.images),)
    return torch.full(shape, number, dtype=torch.int64, device=batch.images.device)


def constant(values: object, device: torch.device) -> Tensor:
    """torch.tensor(values) on a device, without waiting for the device."""
    return torch.tensor(values).to(device, non_blocking=True)
