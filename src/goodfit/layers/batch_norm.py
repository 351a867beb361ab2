"""Normalize every channel by its mean and variance in the batch; and make its test time exact.

    f(x, z) = gamma * (x - mean(z)) / sqrt(var(z) + eps) + beta;   z: the batch that x is in

At test time running averages of mean and variance take the place of the batch's: approximate,
since they average over weights that have changed since, and the worse the smaller the batch.
`precise_batch_norm(model, batches)` replaces them by the exact moments over all of `batches`
under the present weights. Do it after weight averaging (SWA, EMA, soups), after changing image
size or augmentation, and whenever the audit says that running statistics are off.

As an ingredient it puts batch norm between the layers and the activations of a model that has
none (AlexNet, VGG, MLPs), where they stand side by side in an nn.Sequential. Not for batches of
less than about 8 samples, and not with SELU or right behind dropout.

Source: Ioffe & Szegedy 2015, arXiv:1502.03167; precise statistics: Wu & Johnson 2021,
arXiv:2105.07576. Lecture: Regularization, Batch Normalization.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.batch import as_float
from goodfit.errors import DataError, ModelError
from goodfit.ingredient import Positive
from goodfit.layers._attach import after
from goodfit.layers._base import Changed, Insertion
from goodfit.layers._swap import hidden, no_place


class ChannelMoments:
    """Count, mean and summed squared deviations of every channel, merged exactly."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Float[Tensor, " c"] = torch.zeros(())
        self.squares: Float[Tensor, " c"] = torch.zeros(())

    def add(self, x: Float[Tensor, "n c ..."]) -> None:
        """Count the values of one more batch (Chan et al. 1979)."""
        dims = [d for d in range(x.ndim) if d != 1]
        var, mean = torch.var_mean(x.detach().float(), dims, correction=0)
        count, var, mean = x.numel() // x.shape[1], var.double(), mean.double()
        if not self.count:
            self.count, self.mean, self.squares = count, mean, var * count
            return
        total, gap = self.count + count, mean - self.mean
        self.squares = self.squares + var * count + gap**2 * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total

    @property
    def var(self) -> Float[Tensor, " c"]:
        """The unbiased variance, which is what torch's running variance estimates."""
        return self.squares / max(self.count - 1, 1)


@torch.no_grad()
def precise_batch_norm(model: nn.Module, batches: Iterable[Any]) -> tuple[str, ...]:
    """Set all running statistics of `model` to the moments over `batches`; return the norms' names.

    `batches` are Batches, tensors of images, or tuples that begin with one. Batch norms use the
    statistics of each batch meanwhile, as in training; all other layers are in evaluation, so the
    statistics are those of what testing will feed. Modes and counters are left as they were.
    Raises ModelError without batch norm, DataError without batches.
    """
    norms = {name: m for name, m in model.named_modules() if is_tracking(m)}
    if not norms:
        raise no_place(model, "batch norm with running statistics", fix="nothing to do: skip this")
    moments = {name: ChannelMoments() for name in norms}
    device = next(model.parameters()).device
    with _only_these_train(model, norms):
        hooks = [
            norm.register_forward_pre_hook(lambda _, args, seen=moments[name]: seen.add(args[0]))
            for name, norm in norms.items()
        ]
        try:
            for batch in batches:
                images = batch if isinstance(batch, Tensor) else batch[0]
                model(as_float(images.to(device)))
        finally:
            for hook in hooks:
                hook.remove()
    if not any(seen.count for seen in moments.values()):
        raise DataError("no batch to compute statistics from", fix="give some training batches")
    for name, norm in norms.items():
        if moments[name].count:  # else the model never calls it
            norm.running_mean.copy_(moments[name].mean)
            norm.running_var.copy_(moments[name].var)
    return tuple(norms)


def is_tracking(module: nn.Module) -> bool:
    """Whether this is a batch norm of any kind that keeps running statistics."""
    return isinstance(module, _BatchNorm) and module.running_mean is not None


@contextmanager
def _only_these_train(model: nn.Module, norms: dict[str, nn.Module]) -> Iterator[None]:
    """Norms in training, all else in evaluation; then all modes and buffers as before."""
    modes = {name: m.training for name, m in model.named_modules()}
    kept = {n: {k: v.clone() for k, v in m.named_buffers()} for n, m in norms.items()}
    model.eval()
    for norm in norms.values():
        norm.training = True
    try:
        yield
    finally:
        for name, module in model.named_modules():
            module.training = modes[name]
        for name, norm in norms.items():
            for key, value in norm.named_buffers():
                value.copy_(kept[name][key])


class BatchNormInsertion(Insertion):
    momentum: Positive = 0.1  # weight of the newest batch in the running averages
    eps: Positive = 1e-5

    def __call__(self, model: nn.Module) -> Changed:
        norms = [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
        if norms:
            raise ModelError(
                f"{type(model).__name__} has batch norm already",
                at=norms[0],
                seen=f"{len(norms)} batch norms",
                fix="remove `batch-norm` from the recipe's layers",
            )
        selus = [name for name, m in model.named_modules() if isinstance(m, nn.SELU)]
        if selus:
            raise ModelError(
                "SELU normalizes by itself; batch norm beside it undoes that",
                at=selus[0],
                seen=f"{len(selus)} SELUs in {type(model).__name__}",
                fix="remove `batch-norm` from the recipe's layers, or take `elu`",
            )
        places, refused = [], []
        for name, _ in hidden(model).places:
            place, _, child = name.rpartition(".")
            parent = model.get_submodule(place)
            names = list(parent._modules) if isinstance(parent, nn.Sequential) else [child]
            before = names[max(names.index(child) - 1, 0)]
            layer, where = parent.get_submodule(before), f"{place}.{before}".lstrip(".")
            if isinstance(layer, nn.Linear):
                norm: nn.Module = nn.BatchNorm1d(layer.out_features, self.eps, self.momentum)
            elif isinstance(layer, nn.Conv2d):
                norm = nn.BatchNorm2d(layer.out_channels, self.eps, self.momentum)
            else:
                refused.append((name, "no layer stands right before it in an nn.Sequential"))
                continue
            after(layer, norm.to(layer.weight), "batch_norm")
            places.append(where)
        if not places:
            fix = "write layer and activation side by side in an nn.Sequential"
            raise no_place(model, "layer right before an activation", tuple(refused), fix)
        return Changed(tuple(places), tuple(refused))
