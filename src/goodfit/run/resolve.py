"""A recipe with everything explicit that depends on the data and the machine, so that it reruns."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goodfit.data import Splits
from goodfit.data.loader import Loader
from goodfit.ingredient import Ingredient
from goodfit.losses import Loss
from goodfit.memory import release_freed_memory
from goodfit.optim import Optim
from goodfit.predict import Classifier
from goodfit.recipe.recipe import Recipe, Train
from goodfit.run.build import left_to_change, network, some_images, steps_of
from goodfit.run.compiled import Tried, tried
from goodfit.run.fitting import cost_share
from goodfit.run.machine import Speed, measured
from goodfit.run.world import World

# Training images, at most, from which preprocessing and lighting are fitted: 10,000 small ones,
# and of large ones as many as 128 MB hold, so that memory and time do not grow with the data.
_SEEN, _SEEN_BYTES = 10_000, 128 << 20
# Images of a batch, at most, that a CPU is timed on: larger batches take longer in proportion, and
# would need more memory for being timed than for training, where no two layouts meet.
_TIMED = 128


class Resolved(NamedTuple):
    """The explicit recipe, the seconds of each way to take a step, and what to say about them."""

    recipe: Recipe
    seconds: dict[str, float]
    said: str


def resolved(recipe: Recipe, splits: Splits, loader: Loader, world: World) -> Resolved:
    """Fit what is fitted to training images, and time a few steps of a copy of the model."""
    each = loader.channels * loader.size[0] * loader.size[1]
    images = some_images(loader, min(_SEEN, max(1, _SEEN_BYTES // each)))
    preprocess = fitted(recipe.preprocess, images)
    augment = tuple(fitted(change, images) for change in recipe.augment)
    recipe = recipe.replaced(preprocess=preprocess, augment=augment, optimizer=_scaled(recipe))
    speed, compiles = _Timing(recipe, splits, loader, images, world).found()
    release_freed_memory()
    found = {
        "precision": str(speed.precision).removeprefix("torch."),
        "channels_last": speed.channels_last,
        "compile": compiles.pays,
    }
    rows = {name: round(value, 4) for name, value in speed.seconds.items()}
    found, rows, said = world.agree((found, rows, compiles.said))
    return Resolved(recipe.replaced(train=recipe.train.replaced(**found)), rows, said)


def fitted(item: Any, images: Tensor) -> Any:
    return item.fitted(images) if isinstance(item, Ingredient) and hasattr(item, "fitted") else item


def _scaled(recipe: Recipe) -> Any:
    """The optimizer with its lr for the batch at hand, where the recipe gave it for another."""
    size, optimizer = recipe.train.batch_size, recipe.optimizer
    if isinstance(optimizer, Optim) and isinstance(size, int):
        return optimizer.for_batch(size)
    return optimizer


class _Timing:
    """Precision, layout and compilation, chosen by timing steps of a copy of the model."""

    def __init__(
        self, recipe: Recipe, splits: Splits, loader: Loader, images: Tensor, world: World
    ) -> None:
        self.recipe, self.train, self.world = recipe, recipe.train, world
        images = images[: loader.batch_size // world.size]
        self.images = images[:_TIMED] if images.device.type == "cpu" else images
        self.share = len(self.images) / len(images)  # of a step
        self.classes = splits.train.classes
        self.steps = steps_of(recipe, loader)
        self.changes = left_to_change(recipe, loader)

    def found(self) -> tuple[Speed, Tried]:
        precisions = _precisions(self.train, self.images.device)
        last = self.train.channels_last
        layouts = [False, True] if last == "auto" else [bool(last)]
        if len(precisions) * len(layouts) == 1:
            speed = Speed(precisions[0], layouts[0], {})
        else:
            speed = measured(
                self._model(), self.images, self._targets(), self._loss(), precisions, layouts
            )
            whole = {name: took / self.share for name, took in speed.seconds.items()}
            speed = speed._replace(seconds=whole)
        if self.train.compile != "auto":
            return speed, Tried(bool(self.train.compile), "")
        if not self.world.main:  # one process tries, the others wait for its word
            return speed, Tried(False, "")
        return speed, self._compiled(speed)

    def _compiled(self, speed: Speed) -> Tried:
        layout = torch.channels_last if speed.channels_last else torch.contiguous_format
        minutes = self.train.minutes
        return tried(
            self._model().to(memory_format=layout),
            self.images.contiguous(memory_format=layout),
            self._targets(),
            self._loss(),
            speed.precision,
            augment=self.changes,
            steps=round(self.steps * self.train.accumulate * cost_share(self.train) / self.share),
            seconds=None if minutes is None else 60 * minutes,
            shapes=max(1, len(self.train.sizes)),
        )

    def _model(self) -> nn.Module:
        net, _ = network(self.recipe, len(self.classes), self.images.shape[1], pretrained=False)
        model = Classifier(self.recipe.preprocess(), net, self.classes)
        return model.to(self.images.device).train()

    def _targets(self) -> Tensor:
        targets = torch.zeros(len(self.images), len(self.classes), device=self.images.device)
        targets[:, 0] = 1
        return targets

    def _loss(self) -> Any:
        own = self.recipe.loss
        return own if isinstance(own, Loss) else nn.functional.cross_entropy


def _precisions(train: Train, device: torch.device) -> list[torch.dtype]:
    """The precisions in question, the plain one first."""
    if train.precision == "bfloat16":
        return [torch.bfloat16]
    if train.precision == "auto" and _has_bf16(device):
        return [torch.float32, torch.bfloat16]
    return [torch.float32]


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu"
