"""Let a net's first convolution whiten small patches, with filters found before training.

    filter_j = u_j / sqrt(l_j + eps), and -filter_j;   covariance of k x k patches = U L U^T

The responses are uncorrelated and of about unit variance where l_j is above eps, and with both
signs nothing is lost to a ReLU. The filters are usually frozen. They are fitted on the images
that the convolution sees, so normalize first; eps belongs to that scale. Worth it in very short
runs on small images; longer ones learn as good a first layer. At test time it is a convolution.

Source: Jordan 2024, arXiv:2404.00498 (airbench). Lecture: Data Preprocessing; Architectures.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goodfit.errors import ModelError


@torch.no_grad()
def whitening_filters(
    images: Float[Tensor, "m c h w"], kernel: int = 2, eps: float = 5e-4
) -> Float[Tensor, "o c k k"]:
    """2 c k^2 filters, the positive ones first, by falling variance.

    The images are float and as the convolution will see them; some thousands are enough.
    """
    channels, d = images.shape[1], images.shape[1] * kernel**2
    total = torch.zeros(d, dtype=torch.float64, device=images.device)
    square = torch.zeros(d, d, dtype=torch.float64, device=images.device)
    count = 0
    for start in range(0, len(images), 64):
        patches = images[start : start + 64].unfold(2, kernel, 1).unfold(3, kernel, 1)
        x = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, d).double()
        total += x.sum(0)
        square.addmm_(x.T, x)
        count += len(x)
    total /= count
    variances, axes = torch.linalg.eigh(square / count - torch.outer(total, total))
    variances, axes = variances.flip(0).clamp_min(0), axes.flip(1)
    axes = axes * axes[axes.abs().argmax(0), torch.arange(d, device=axes.device)].sign()
    filters = (axes / (variances + eps).sqrt()).T.reshape(d, channels, kernel, kernel)
    return torch.cat([filters, -filters]).to(images.dtype)


@torch.no_grad()
def whiten(conv: nn.Conv2d, images: Float[Tensor, "m c h w"], eps: float = 5e-4) -> None:
    """Put the whitening filters into `conv` and freeze them; its bias, if any, stays as it is.

    Raises ModelError when the convolution has not 2 c k^2 outputs or is grouped.
    """
    kernel, wanted = conv.kernel_size[0], 2 * images.shape[1] * conv.kernel_size[0] ** 2
    shape = (wanted, images.shape[1], kernel, kernel)
    if tuple(conv.weight.shape) != shape:
        raise ModelError(
            "this convolution cannot whiten patches",
            weight=tuple(conv.weight.shape),
            wanted=shape,
            fix=f"give it {wanted} outputs, a square kernel and no groups",
        )
    conv.weight.copy_(whitening_filters(images, kernel, eps))
    conv.weight.requires_grad_(False)
