"""Augmentations: (batch, rng) → batch, on whole batches, each with its test-time average.

An augmentation draws its z openly (`draw`), applies it deterministically (`given`), and says how
it is averaged out at test time: `marginal`, and `views` where fixed views do it.
"""

from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from goodfit.batch import Batch, as_float
from goodfit.ingredient import Fraction, Ingredient
from goodfit.rand import Rng

Marginal = Literal["identity", "views", "samples"]
View = tuple[float, Batch]


class Augmentation(Ingredient):
    """Base of all augmentations.

    marginal: what testing does. "identity": the image as it is; "views": the weighted views of
        `views`, an exact average; "samples": K fresh draws, a Monte-Carlo average, for which
        `views` gives the one view that stands in the middle.
    draws_by_shape: `draw` asks the images for their shape alone, so that a pipeline may draw before
        their pixels are there, do several changes at once and compile them.
    prob: probability, per sample, that the augmentation is applied.
    """

    noun: ClassVar[str] = "augmentation"
    marginal: ClassVar[Marginal] = "identity"
    draws_by_shape: ClassVar[bool] = False
    prob: Fraction = 1.0

    def draw(self, batch: Batch, rng: Rng) -> Any:
        """z for every sample: a NamedTuple of (n, ...) tensors, a tensor, or None."""
        return None

    def given(self, batch: Batch, z: Any) -> Batch:
        """The batch under a given z. Deterministic; leaves its input alone."""
        raise NotImplementedError

    def only(self, batch: Batch, z: Any, applied: Bool[Tensor, " n"]) -> Any:
        """`z` made harmless for the samples that are not `applied`, where z can say so.

        Returning NotImplemented, as here, leaves it to `__call__` to put the old images back.
        """
        return NotImplemented

    def views(self, batch: Batch) -> list[View]:
        """Weighted batches that stand for the training distribution at test time."""
        return [(1.0, batch)]

    def fitted(self, images: UInt8[Tensor, "m c h w"]) -> Self:
        """A copy with whatever it takes from the training images made explicit."""
        return self

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """Draw z and apply it, to a share `prob` of the samples."""
        if self.prob == 0:
            return batch
        if self.prob == 1:
            return self.given(batch, self.draw(batch, rng))
        applied = rng.happens(self.prob)
        z = self.draw(batch, rng)
        changed = self.only(batch, z, applied)
        if changed is not NotImplemented:
            return self.given(batch, changed)
        return chosen(applied, self.given(batch, z), batch)


def chosen(applied: Bool[Tensor, " n"], changed: Batch, batch: Batch) -> Batch:
    """`changed` where `applied` is true, `batch` elsewhere, sample by sample."""
    old, new = batch.images, changed.images
    if new.dtype != old.dtype:
        old = as_float(old).to(new.dtype)
    return changed.with_images(by_sample(applied, new, old))


def by_sample(
    condition: Bool[Tensor, " n"], yes: Tensor, no: Tensor, *, spend: bool = False
) -> Tensor:
    """`yes` where the condition holds, `no` elsewhere, sample by sample: `torch.where` in words.

    A select takes as long for a byte as for eight, so samples are read as 64-bit words if they
    can be. With `spend`, `yes` may be overwritten, which saves memory and its time.
    """
    n, shape = len(no), no.shape
    yes, no = yes.contiguous(), no.contiguous()
    size = no[0].numel() * no.element_size() if n else 0
    if size and size % 8 == 0 and not torch.compiler.is_compiling() and _aligned(yes, no):
        words = [image.view(n, -1).view(torch.int64) for image in (yes, no)]
        place = words[0] if spend else None
        merged: Tensor = torch.where(condition[:, None], words[0], words[1], out=place)
        return merged.view(no.dtype).view(shape)
    return torch.where(condition.view(n, *(1,) * (no.ndim - 1)), yes, no)


def _aligned(*images: Tensor) -> bool:
    """Whether they start at a whole 64-bit word of their storage."""
    return all(image.storage_offset() * image.element_size() % 8 == 0 for image in images)
