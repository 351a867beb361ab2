"""What PCA, PCA-whitening and ZCA share: the covariance of whole images, and one matrix product."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from goodfit.batch import as_float
from goodfit.errors import ModelError, RecipeError
from goodfit.preprocess import in_chunks, numbers_in

_MOST = 8192  # numbers per image: the matrix has the square of that


class Linear(nn.Module):
    """y = matrix (x - mean), over the flattened image; the image's shape is kept if it can be."""

    matrix: Tensor
    mean: Tensor

    def __init__(
        self, matrix: Float[Tensor, "o d"], mean: Float[Tensor, " d"], shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix.float())
        self.register_buffer("mean", mean.float())
        self.shape = shape
        self.out_shape = shape if len(matrix) == len(mean) else (len(matrix), 1, 1)

    def forward(self, images: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n o p q"]:
        if tuple(images.shape[1:]) != self.shape:
            raise ModelError(
                "the images have another shape than the preprocessing was fitted on",
                images=tuple(images.shape[1:]),
                preprocessing=self.shape,
                fix="resize the images, or use channel-stats, which takes any size",
            )
        flat = as_float(images).flatten(1) - self.mean  # before the product: no cancellation
        y = (flat @ self.matrix.T).view(-1, *self.out_shape)
        last = images.is_contiguous(memory_format=torch.channels_last)
        return y.contiguous(memory_format=torch.channels_last) if last else y


def principal(
    images: Shaped[Tensor, "m c h w"],
) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Mean, variances (largest first) and axes (columns) of images in 0..1, in float64.

    Streamed: only the covariance and one chunk are held. The sign of an axis is that of its
    largest entry, so that the same images give the same numbers everywhere.
    """
    d = numbers_in(images)
    if d > _MOST:
        raise RecipeError(
            f"whitening images of {d} numbers needs a matrix of {d} x {d}",
            limit=f"{_MOST} numbers, such as 3 x 52 x 52",
            fix="use smaller images, or channel-stats",
        )
    first = next(in_chunks(images)).flatten(1).mean(0)  # near the mean: no cancellation
    total = torch.zeros(d, dtype=torch.float64, device=images.device)
    square = torch.zeros(d, d, dtype=torch.float64, device=images.device)
    for chunk in in_chunks(images):
        x = (chunk.flatten(1) - first) / 255
        total += x.sum(0)
        square.addmm_(x.T, x)
    total /= len(images)
    covariance = square / len(images) - torch.outer(total, total)
    variances, axes = torch.linalg.eigh(covariance)
    variances, axes = variances.flip(0).clamp_min(0), axes.flip(1)
    largest = axes.abs().argmax(0)
    axes = axes * axes[largest, torch.arange(d, device=axes.device)].sign()
    return (first / 255 + total).cpu(), variances.cpu(), axes.cpu()
