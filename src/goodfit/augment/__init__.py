"""Augmentations: (batch, rng) → batch, on whole batches, each with its test-time average.

An augmentation draws its z openly (`draw`), applies it deterministically (`given`), and says how
it is averaged out at test time: `marginal`, and `views` where fixed views do it.
"""

from typing import Any, ClassVar, Literal

import torch

from goodfit.batch import Batch, per_image
from goodfit.ingredient import Fraction, Ingredient
from goodfit.rand import Rng

Marginal = Literal["identity", "views", "samples"]
View = tuple[float, Batch]


class Augmentation(Ingredient):
    """Base of all augmentations.

    marginal: what testing does. "identity": the image as it is; "views": the weighted views of
        `views`, an exact average; "samples": K fresh draws, a Monte-Carlo average.
    prob: probability, per sample, that the augmentation is applied.
    """

    noun: ClassVar[str] = "augmentation"
    marginal: ClassVar[Marginal] = "identity"
    prob: Fraction = 1.0

    def draw(self, batch: Batch, rng: Rng) -> Any:
        """z for every sample: a NamedTuple of (n, ...) tensors, a tensor, or None."""
        return None

    def given(self, batch: Batch, z: Any) -> Batch:
        """The batch under a given z. Deterministic; leaves its input alone."""
        raise NotImplementedError

    def views(self, batch: Batch) -> list[View]:
        """Weighted batches that stand for the training distribution at test time."""
        return [(1.0, batch)]

    def __call__(self, batch: Batch, rng: Rng) -> Batch:
        """Draw z and apply it, to a share `prob` of the samples."""
        if self.prob == 0:
            return batch
        if self.prob == 1:
            return self.given(batch, self.draw(batch, rng))
        applied = rng.happens(self.prob)
        changed = self.given(batch, self.draw(batch, rng))
        return chosen(applied, changed, batch)


def chosen(applied: torch.Tensor, changed: Batch, batch: Batch) -> Batch:
    """`changed` where `applied` is true, `batch` elsewhere, sample by sample."""
    old = batch.images
    if changed.images.dtype != old.dtype:
        old = old.to(changed.images.dtype) * (1 / 255 if not old.is_floating_point() else 1)
    images = torch.where(per_image(applied, old), changed.images, old)
    return changed._replace(images=images)
