"""Prediction averages over what training drew: p(y | x) = E_z softmax f(x, z).

    predict(model, images)                          the images as they are
    predict(model, images, augment=[Flip()])        exact views of what training drew
    predict(model, images, augment=..., samples=8)  and 8 draws of the rest, a Monte-Carlo average
    predict(model, images, views="ten-crop")        chosen views; names multiply: "shift*flip"
    predict(model, images, layer_samples=8)         8 draws of dropout and its kind

Every augmentation is averaged as it declares: `identity` is left out, `views` are weighed
exactly, `samples` are drawn, or left out with `samples=0`. `average="logits"` takes the geometric
mean of the probabilities (softmax of the mean logits) instead of the arithmetic one.

Chosen views are named in `goodfit.predict.views`.

Lecture: Regularization, testing averages out the randomness.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goodfit.augment import View
from goodfit.augment.pipeline import Pipeline
from goodfit.batch import Batch, as_float
from goodfit.errors import DataError, ModelError
from goodfit.layers._base import StochasticLayer
from goodfit.predict.views import Views, steps_of, then

Average = Literal["probabilities", "logits"]
_LAYERS = ("DropPath", "StochasticDepth", "DropBlock2d", "DropBlock3d", "PatchDropout")
_DROPS = ("dropout", "attention_dropout", "drop_rate", "dropout_rate")


class Classifier(nn.Module):
    """What training makes: preprocessing and net as one module, and the names of the classes.

    Takes images (n, c, h, w), uint8 or float in 0..1. Gives logits (n, k) in evaluation; in
    training whatever the net gives, auxiliary heads included.
    """

    def __init__(self, preprocess: nn.Module, net: nn.Module, classes: Sequence[str]) -> None:
        super().__init__()
        self.preprocess, self.net, self.classes = preprocess, net, tuple(classes)

    @property
    def aux_weight(self) -> float:
        """What the auxiliary heads count in the loss."""
        return float(getattr(self.net, "aux_weight", 0.3))

    def forward(self, images: Tensor) -> Any:
        output = self.net(self.preprocess(images))
        return output if self.training else logits_of(output)


def logits_of(output: Any) -> Tensor:
    """The logits in what a model gave: itself, its `logits`, or the first of a tuple."""
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, dict) else getattr(output, "logits", None)
    found = output[0] if named is None and isinstance(output, tuple | list) and output else named
    if not isinstance(found, Tensor):
        raise ModelError(
            f"the model gave a {type(output).__name__}, in which there are no logits",
            fix="let forward return logits (n, k), or a tuple whose first element they are",
        )
    return found


def predict(
    model: Callable[[Tensor], Any],
    images: Tensor | Batch | Iterable[Any],
    *,
    augment: Sequence[Any] = (),
    views: str | Sequence[str | Views] | None = None,
    size: int | None = None,
    samples: int = 0,
    layer_samples: int = 0,
    average: Average = "probabilities",
    batch_size: int = 256,
    precision: torch.dtype = torch.float32,
    seed: int = 0,
) -> Float[Tensor, "n k"]:
    """Class probabilities (n, k) on the CPU, in the order of `images`.

    model: a Classifier, or any callable from float images in 0..1 to logits; evaluated in
        evaluation mode and left as it was.
    images: a tensor (n, c, h, w), or an iterable of batches: Batch, tensor, or (images, ...).
    views: names of `VIEWS`, whose product is taken, or functions of (batch, size).
        What a view averages over is not averaged again for `augment`.
    samples: draws of the augmentation per image, a function of `seed` and the image's index.
    layer_samples: draws of the random layers, from torch's generator seeded with `seed`.
    precision: torch.bfloat16 runs the model under autocast.
    """
    steps, covered = steps_of(views)
    changes = [change for change in augment if getattr(change, "name", "") not in covered]
    rows = []
    with _evaluating(model, layer_samples, seed), torch.inference_mode():
        for batch in _batches(images, batch_size, _device(model)):
            total: Tensor | float = 0.0
            for weight, view in _all_views(batch, changes, samples, seed, steps, size):
                for _ in range(max(1, layer_samples)):
                    logits = _logits(model, view, batch, precision)
                    score = (
                        logits.softmax(1) if average == "probabilities" else logits.log_softmax(1)
                    )
                    total = total + score * (weight / max(1, layer_samples))
            assert isinstance(total, Tensor)
            rows.append(total if average == "probabilities" else total.softmax(1))
    if not rows:
        raise DataError("there is no image to predict", fix="give at least one image")
    return torch.cat(rows).cpu()


def _logits(
    model: Callable[[Tensor], Any], view: Batch, batch: Batch, precision: torch.dtype
) -> Tensor:
    images = view.images if isinstance(model, Classifier) else as_float(view.images)
    try:
        with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
            return logits_of(model(images)).float()
    except (RuntimeError, ValueError, AssertionError) as error:
        side, usual = tuple(view.images.shape[-2:]), tuple(batch.images.shape[-2:])
        if side == usual:
            raise
        raise ModelError(
            f"the model does not take images of {side[0]} x {side[1]} pixels",
            seen=str(error).partition("\n")[0],
            fix=f"use views that keep {usual[0]} x {usual[1]}, such as center, flip or ten-crop",
        ) from error


@contextmanager
def _evaluating(model: Any, layer_samples: int, seed: int) -> Iterator[None]:
    """The model in evaluation mode, its random layers drawing if asked; then as it was before."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    before = [module.training for module in modules]
    random = [module for module in modules if _is_random(module)]
    if layer_samples and not random:
        raise ModelError("the model has no random layer to draw", fix="leave layer_samples out")
    try:
        for module in modules:
            module.training = False
        if not layer_samples:
            yield
            return
        for module in random:  # these alone: the batch norms inside stay in evaluation
            module.training = True
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training


def _is_random(module: nn.Module) -> bool:
    """Whether its own code draws in training and not in evaluation.

    Ours, torch's, timm's and torchvision's layers; and modules that say by a number how much they
    drop, as attention and recurrent nets do and functions like F.dropout need.
    """
    if isinstance(module, StochasticLayer | nn.modules.dropout._DropoutNd | nn.RReLU):
        return True
    numbers = (getattr(module, name, None) for name in _DROPS)
    inner = getattr(module, "attn_drop", None)  # timm's attention draws it itself
    return (
        type(module).__name__ in _LAYERS
        or any(isinstance(number, float) and number > 0 for number in numbers)
        or (isinstance(inner, nn.Dropout) and inner.p > 0)
    )


def _device(model: Any) -> torch.device | None:
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    return tensors[0].device if tensors else None


def _batches(images: Any, batch_size: int, device: torch.device | None) -> Iterator[Batch]:
    """Whatever images come as, as batches on the model's device with running indices."""
    if isinstance(images, Batch):
        images = [images]
    elif isinstance(images, Tensor):
        images = torch.split(images, batch_size) if len(images) else []
    count = 0
    for item in images:
        pixels = item if isinstance(item, Tensor) else item[0]
        if not isinstance(item, Batch):
            index = torch.arange(count, count + len(pixels))
            item = Batch(pixels, torch.zeros(len(pixels), 0, device=pixels.device), index)
        count += len(pixels)
        yield item.to(device) if device is not None else item


def _all_views(
    batch: Batch,
    changes: Sequence[Any],
    samples: int,
    seed: int,
    steps: Sequence[Views],
    size: int | None,
) -> Iterator[View]:
    """The product of draws, exact views of augmentations, and chosen views."""
    kinds = [change for change in changes if _marginal(change) == "views"]
    drawn = [change for change in changes if _marginal(change) == "samples"]
    times = samples if drawn and samples else 1
    for draw in range(times):
        made: list[View] = [(1.0, batch)]
        if samples:
            made = _drawn(batch._replace(epoch=draw), changes, seed)
        else:
            for change in kinds:
                made = then(made, change.views)
        for step in steps:
            made = [(w * v, b) for w, a in made for v, b in step(a, size)]
        yield from ((weight / times, view) for weight, view in made)


def _marginal(change: Any) -> str:
    """What testing does with a change; one that does not say is left out."""
    return str(getattr(change, "marginal", "identity"))


def _drawn(batch: Batch, changes: Sequence[Any], seed: int) -> list[View]:
    """One draw of all changes that are sampled, in training's order, branching at exact views."""
    made: list[View] = [(1.0, batch)]
    taken = [change for change in changes if _marginal(change) != "identity"]
    for place, (marginal, run) in enumerate(groupby(taken, key=_marginal)):
        if marginal == "samples":
            draw = Pipeline(list(run), seed + place)
            made = [(weight, draw(b)) for weight, b in made]
        else:
            for change in run:
                made = then(made, change.views)
    return made
