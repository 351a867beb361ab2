"""Set layers free one after the other, from the classifier down to the images.

    stage s of n is free from batch s * batches / n on;   stage 0 is the classifier

What is not free yet is frozen: no gradient, batch norm in evaluation, its statistics unmoved.
`stages = 1` trains the classifier alone, to the end. Where it stands is kept with the weights, so
an interrupted run goes on with the right layers.

At test time nothing is changed. Not for nets that start from nothing: their frozen layers would
compute noise.

Source: Howard & Ruder 2018, arXiv:1801.06146. Lecture: Transfer learning.
"""

from typing import Any

import torch
from torch import Tensor, nn

from goodfit.ingredient import Count
from goodfit.layers._base import Changed, Insertion
from goodfit.optim import head_of, layers_of

KIND = "goodfit.transfer.freezing:GradualUnfreezing"
_SEEN = "batches_seen"


class GradualUnfreezing(Insertion):
    stages: Count = 4  # the classifier, and the layers below it in parts of equal number
    batches: Count = 1000  # of the whole run, or of the part of it in which layers are set free

    @property
    def name(self) -> str:
        """What recipes call it: it lives outside of the shelf of layers."""
        return KIND

    def __call__(self, model: nn.Module) -> Changed:
        stages = stages_of(model, self.stages)
        _Freezing(model, stages, self.batches)
        return Changed(tuple(names[0] for names in stages))


def stages_of(model: nn.Module, count: int) -> list[tuple[str, ...]]:
    """Names of parameters by stage: the classifier, then the other layers from the top.

    With one stage the rest is in none.
    """
    head = head_of(model)
    layers = layers_of(model)
    own = tuple(name for name in layers if name.startswith(f"{head}."))
    others = sorted({layer for name, layer in layers.items() if name not in own}, reverse=True)
    stages = [own]
    parts = min(count - 1, len(others))
    for part in range(parts):
        some = others[len(others) * part // parts : len(others) * (part + 1) // parts]
        names = [name for name, layer in layers.items() if layer in some and name not in own]
        stages.append(tuple(names))
    return stages


class _Freezing:
    """Keeps the lower layers of a net frozen, by looking at every batch that it is trained on."""

    def __init__(self, model: nn.Module, stages: list[tuple[str, ...]], batches: int) -> None:
        self.stages, self.batches = stages, batches
        self.seen, self.free = 0, -1
        self.known: tuple[Any, int] = None, 0  # the buffer and its version when `seen` was right
        model.register_buffer(_SEEN, torch.zeros((), dtype=torch.int64))
        model.register_forward_pre_hook(self.before)

    def before(self, model: nn.Module, _: Any) -> None:
        """Called with every batch: nothing to do where the net is tested."""
        if not model.training:
            return
        count: Tensor = model.get_buffer(_SEEN)
        if self.known[0] is not count or self.known[1] != count._version:
            self.seen, self.free = int(count), -1  # a read waits for the device: only then
        free = min(len(self.stages), 1 + self.seen * len(self.stages) // self.batches)
        if free != self.free:
            self._set_free(model, free)
        for module in self.frozen:
            module.training = False  # the loop puts the whole net in training mode at every step
        count.add_(1)
        self.seen, self.known = self.seen + 1, (count, count._version)

    def _set_free(self, model: nn.Module, free: int) -> None:
        names = {name for stage in self.stages[:free] for name in stage}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
            if name not in names:
                parameter.grad = None
        self.free = free
        everything = free == len(self.stages) and self.stages[1:] != []
        self.frozen = [] if everything else _frozen(model, names)


def _frozen(model: nn.Module, free: set[str]) -> list[nn.Module]:
    """Modules without a free parameter, with all that is in them.

    Those without any, such as dropout before the classifier, go on unless they keep statistics.
    """
    whole = []
    for place, module in model.named_modules():
        owned = [name for name, _ in model.named_parameters() if name.startswith(f"{place}.")]
        keeps = bool(list(module.buffers()))
        if place and not free.intersection(owned) and (owned or keeps):
            whole.append(module)
    return [inner for module in whole for inner in module.modules()]
