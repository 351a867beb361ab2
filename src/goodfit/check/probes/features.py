"""Features that plain classifiers are given of any data, without training."""

import torch
import torch.nn.functional as F
from torch import Tensor

_BUCKETS = 509  # that pairs of neighbouring words are counted in; a prime


def plain(x: Tensor) -> Tensor:
    """Features any data has: the values, and local contrasts pooled over all places."""
    if x.ndim == 3:
        return torch.cat([x.flatten(1)[:, :4096], pooled(x), pooled(x.transpose(1, 2))], 1)
    if x.ndim != 4:
        return x.flatten(1)[:, :4096]
    side = 12
    small = F.adaptive_avg_pool2d(x, side) if min(x.shape[-2:]) > side else x
    generator = torch.Generator().manual_seed(0)
    kernels = torch.randn(32, x.shape[1], 5, 5, generator=generator)
    kernels = kernels - kernels.mean((1, 2, 3), keepdim=True)
    kernels = kernels / kernels.flatten(1).norm(dim=1)[:, None, None, None]
    source = F.adaptive_avg_pool2d(x, 32) if min(x.shape[-2:]) > 32 else x
    parts = []
    for part in source.split(256):  # type: ignore[no-untyped-call]
        response = F.conv2d(part, kernels, padding=2).abs()
        parts.append(torch.cat([response.mean((2, 3)), response.amax((2, 3))], 1))
    local = torch.cat(parts)
    local = (local - local.mean(0)) / local.std(0).clamp_min(1e-8)
    flat = small.flatten(1)
    weight = (flat.shape[1] / local.shape[1]) ** 0.5 * flat.std().clamp_min(1e-8)
    return torch.cat([flat, local * weight * 0.5], 1)


def pooled(x: Tensor) -> Tensor:
    """Responses to random filters along the last axis of (n, channels, places), over all places."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for width in (1, 3):
        if x.shape[2] < width:
            continue
        kernels = torch.randn(16, x.shape[1], width, generator=generator)
        biases = torch.randn(16, generator=generator)
        kernels = kernels / (
            kernels.flatten(1).norm(dim=1)[:, None, None] * x.std().clamp_min(1e-12)
        )
        response = F.conv1d(x - x.mean(), kernels, biases).relu()
        found += [response.mean(2), response.amax(2)]
    return torch.cat(found, 1)


def like_words(x: Tensor) -> bool:
    """Whether rows may be sentences: whole numbers from 0, of which some come again and again."""
    if x.ndim != 2 or x.shape[1] < 4 or not bool(((x == x.round()) & (x >= 0)).all()):
        return False
    return 8 <= len(x.unique()) <= x.numel() // 8  # type: ignore[no-untyped-call]


def words(x: Tensor) -> Tensor:
    """How often each word, and each word after another, occurs in a row."""
    codes = x.long()
    pairs = (codes[:, :-1] * 31 + codes[:, 1:] * 1009) % _BUCKETS
    counts = torch.zeros(len(x), 2 * _BUCKETS)
    counts.scatter_add_(1, codes % _BUCKETS, torch.ones_like(x))
    return counts.scatter_add_(1, _BUCKETS + pairs, torch.ones_like(x[:, 1:]))
