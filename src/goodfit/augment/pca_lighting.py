"""Change the light as the training images vary: along the principal axes of their colors.

    f(x, z) = x + E (z ⊙ λ), clamped to 0..1;   z ~ N(0, std²) for each axis and image

E and λ are the eigenvectors and eigenvalues of the covariance of the training set's colors, in
0..1. λ are variances, as in the paper; (.2175, .0188, .0045), seen in much code, are ImageNet's.
`fitted` takes both from the user's own training images; a resolved recipe holds them as `axes` (one
row per axis) and `values`.

At test time the image is used as it is, or random draws are averaged. Not where color decides the
class.

Source: Krizhevsky et al. 2012, §4.1. Lecture: Data Augmentation, Color Jitter (PCA lighting).
"""

from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from goodfit.augment._color import Colors, Mean, Photometric, map_of
from goodfit.batch import Batch, Images, as_float, constant
from goodfit.errors import RecipeError
from goodfit.ingredient import NonNegative
from goodfit.rand import Rng


class PCALighting(Photometric):
    by_channel: ClassVar[bool] = True
    std: NonNegative = 0.1  # of the multiple of each axis
    axes: tuple[tuple[float, ...], ...] | None = None  # one row per axis; by `fitted` if None
    values: tuple[NonNegative, ...] | None = None  # the variance along each axis

    def model_post_init(self, context: object) -> None:
        axes, values = self.axes or (), self.values or ()
        if any(len(row) != len(values) for row in axes) or len(axes) != len(values):
            raise RecipeError(
                "pca-lighting: axes and values do not belong together",
                axes=f"{len(axes)} rows of {sorted({len(row) for row in axes})} numbers",
                values=f"{len(values)} numbers",
                fix="leave both out, to be fitted, or give one row per value",
            )

    def fitted(self, images: Images) -> Self:
        """With the axes and variances of the colors of these images."""
        if self.axes is not None:
            return self
        covariance = _covariance(images)
        values, columns = torch.linalg.eigh(covariance)
        axes, variances = columns.T.flip(0), values.flip(0).clamp_min(0)  # the largest first
        axes = axes * torch.where(axes.sum(1, keepdim=True) < 0, -1.0, 1.0)  # one of two signs
        return self.replaced(
            axes=tuple(tuple(row) for row in axes.tolist()), values=tuple(variances.tolist())
        )

    def draw(self, batch: Batch, rng: Rng) -> Float[Tensor, "n axes"]:
        return rng.normals(batch.images.shape[1]) * self.std

    def only(self, batch: Batch, z: Tensor, applied: Tensor) -> Float[Tensor, "n axes"]:
        return z * applied[:, None]

    def colors(self, z: Float[Tensor, "n axes"], mean: Mean) -> Colors:
        c = mean.shape[1]
        if self.axes is None or self.values is None or len(self.values) != c:
            known = "none" if self.values is None else f"axes of {len(self.values)} channels"
            raise RecipeError(
                f"pca-lighting has no axes for images of {c} channels",
                at="augment",
                known=known,
                fix="call fitted(training_images) first, or give `axes` and `values`",
            )
        scaled = constant(self.axes, z.device) * constant(self.values, z.device).view(-1, 1)
        return map_of(torch.eye(c, device=z.device).expand(len(z), c, c), z @ scaled)


def _covariance(images: Images) -> Float[Tensor, "c c"]:
    """The covariance of the colors of all pixels, in double, a slice of the images at a time."""
    c = images.shape[1]
    total, outer, count = torch.zeros(c).double(), torch.zeros(c, c).double(), 0
    for part in torch.split(images, 256):
        flat = as_float(part).cpu().transpose(0, 1).reshape(c, -1).double()
        total += flat.sum(1)
        outer += flat @ flat.T
        count += flat.shape[1]
    mean = total / count
    return (outer / count - mean[:, None] * mean).float()
