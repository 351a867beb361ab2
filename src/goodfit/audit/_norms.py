"""Are the running statistics of batch norms those of the data, under the present weights?

Per channel, evaluation normalizes with N(running mean, running var) where training saw
N(mean, var) of the batch; the distance is their Kullback-Leibler divergence, averaged over the
channels. What sampling alone would give is known by resampling the batch's images.
"""

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.audit._watch import seeded

OFF = 0.25  # nats per channel; one standard deviation of shift in all channels is 0.5
_CHANNEL_MOST = 3.0  # so that a few dead channels decide nothing
_RESAMPLES = 200
_IMAGES_LEAST = 8


class NormCheck(NamedTuple):
    """How far running statistics are from the batch's; p is None where that cannot be said."""

    divergence: float
    p: float | None
    note: str


class ImageMoments(NamedTuple):
    """Mean and mean square of every image and channel, (n, c)."""

    mean: Tensor
    square: Tensor


def checked_norms(model: nn.Module, images: Tensor, seed: int) -> dict[str, NormCheck]:
    """Each batch norm that is called, against the images; the model is in training mode."""
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    before = {name: _running(norm) for name, norm in norms.items()}
    training = {name for name, norm in norms.items() if norm.training}
    new = {name for name, norm in norms.items() if _is_new(norm)}
    moments: dict[str, ImageMoments] = {}

    def measure(name: str, x: Tensor) -> None:
        rows = x.detach().double().flatten(2) if x.ndim > 2 else x.detach().double()[..., None]
        moments.setdefault(name, ImageMoments(rows.mean(2), (rows**2).mean(2)))

    with ExitStack() as hooks:
        for name, norm in norms.items():
            hook = norm.register_forward_pre_hook(lambda _, a, name=name: measure(name, a[0]))
            hooks.callback(hook.remove)
        seeded(seed)
        model(images)
    found = {}
    for name, seen in moments.items():
        running = before[name]
        if running is None:
            found[name] = NormCheck(0.0, None, "evaluates with the statistics of its batch")
        elif name not in training:
            found[name] = NormCheck(0.0, None, "frozen: trains as it evaluates")
        elif name in new:
            found[name] = NormCheck(0.0, None, "has seen no batch yet")
        elif len(images) < _IMAGES_LEAST:
            found[name] = NormCheck(0.0, None, f"needs {_IMAGES_LEAST} images to be judged")
        else:
            found[name] = _checked(seen, *running, norms[name].eps, seed)
    return found


def _running(norm: _BatchNorm) -> tuple[Tensor, Tensor] | None:
    if norm.running_mean is None or norm.running_var is None:
        return None
    return norm.running_mean.double().clone(), norm.running_var.double().clone()


def _is_new(norm: _BatchNorm) -> bool:
    """Whether its running statistics were never updated."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked:
        return False
    return bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())


def _checked(
    seen: ImageMoments, running_mean: Tensor, running_var: Tensor, eps: float, seed: int
) -> NormCheck:
    n = len(seen.mean)
    rows = torch.from_numpy(np.random.default_rng(seed).multinomial(n, [1 / n] * n, _RESAMPLES) / n)
    weights = torch.cat([torch.full((1, n), 1 / n, dtype=torch.float64), rows])
    mean = weights.to(seen.mean) @ seen.mean
    var = (weights.to(seen.mean) @ seen.square - mean**2).clamp_min(0)
    distance = _divergence(mean[0], var[0], running_mean, running_var, eps).item()
    resampled = _divergence(mean[1:], var[1:], mean[0], var[0], eps).cpu().numpy()
    center, spread = resampled.mean(), max(resampled.var(ddof=1), 1e-30)
    shape = center**2 / spread
    p = float(stats.gamma.sf(distance, shape, scale=spread / max(center, 1e-30)))
    return NormCheck(distance, p, f"{distance:.3f} nats a channel; {center:.3f} by chance")


def _divergence(
    mean: Tensor, var: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
) -> Tensor:
    """KL(N(mean, var) from N(running)), averaged over channels."""
    ratio = (var + eps) / (running_var + eps)
    shift = (mean - running_mean) ** 2 / (running_var + eps)
    return (0.5 * (ratio - 1 - ratio.log() + shift)).clamp_max(_CHANNEL_MOST).mean(-1)
