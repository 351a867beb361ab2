"""From a recipe to its pieces: the only place that knows which ingredient needs what."""

import copy
import inspect
from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.data import Splits
from goodfit.data.loader import Loader
from goodfit.errors import RecipeError
from goodfit.ingredient import Ingredient
from goodfit.losses import Loss
from goodfit.optim import Optim, table
from goodfit.predict import Classifier
from goodfit.rand import key_of
from goodfit.recipe.own import Own
from goodfit.recipe.recipe import Recipe
from goodfit.run.machine import measured
from goodfit.run.world import World

_SEEN = 10_000  # training images, at most, from which preprocessing and lighting are fitted


class Pieces(NamedTuple):
    """What training needs, on its device."""

    model: Classifier
    optimizer: Optimizer
    loss: Callable[[Tensor, Tensor], Tensor]
    precision: torch.dtype
    said: tuple[str, ...]  # what building noticed, for the log


def seeded(seed: int, name: str) -> None:
    """Seed torch's own generator for one purpose, independently of all others."""
    low, high = key_of(seed, name)
    torch.manual_seed(low | (high & 0x7FFFFFFF) << 32)


def bare(model: Any) -> Any:
    """Model settings without pretrained weights, for weights that a run brings itself."""
    fields = getattr(type(model), "model_fields", {})
    return model.replaced(weights=fields["weights"].default) if "weights" in fields else model


def network(
    recipe: Recipe, classes: int, channels: int, *, pretrained: bool = True
) -> tuple[nn.Module, list[str]]:
    """The network with its layers changed; and a line on every change."""
    seeded(recipe.train.seed, "model")
    settings = recipe.model if pretrained else bare(recipe.model)
    model: nn.Module = settings(classes, channels)
    if not isinstance(model, nn.Module):
        raise RecipeError(
            f"{recipe.model.name} gave a {type(model).__name__}, not an nn.Module",
            at="model",
            fix="return an nn.Module that maps images (n, c, h, w) to logits (n, k)",
        )
    return model, [f"{change.name}: {change(model)}" for change in recipe.layers]


def classifier(recipe: Recipe, classes: tuple[str, ...], channels: int) -> Classifier:
    """The untrained classifier of a resolved recipe, for a run's own weights to be put in."""
    net, _ = network(recipe, len(classes), channels, pretrained=False)
    return Classifier(recipe.preprocess(), net, classes)


def loss_of(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss as a callable (logits, targets)."""
    loss = recipe.loss
    if not isinstance(loss, Own):
        return loss
    if inspect.isclass(loss.target):
        return loss.target(**loss.settings)  # type: ignore[return-value]
    return loss.target


def build(
    recipe: Recipe, loader: Loader, classes: tuple[str, ...], channels: int, world: World
) -> Pieces:
    """Everything a resolved recipe names, built, initialized and moved to the device."""
    net, said = network(recipe, len(classes), channels)
    seeded(recipe.train.seed, "init")
    model = Classifier(recipe.preprocess(), net, classes)
    for init in recipe.init:
        needs_images = getattr(init, "needs_images", False)
        done = init(net, model.preprocess(_some(loader, 256))) if needs_images else init(net)
        touched = getattr(done, "touched", None)
        said.append(
            f"{init.name}: set {len(touched)} tensors" if touched is not None else init.name
        )
    model = model.to(world.device)
    if recipe.train.channels_last is True:
        model = model.to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(net)
    if isinstance(recipe.optimizer, Optim):
        said.append(table(recipe.optimizer.groups(net)))
    precision = torch.bfloat16 if recipe.train.precision == "bfloat16" else torch.float32
    return Pieces(model, optimizer, loss_of(recipe), precision, tuple(said))


def _scaled(recipe: Recipe) -> Any:
    """The optimizer with its lr for the batch at hand, where the recipe gave it for another."""
    size, optimizer = recipe.train.batch_size, recipe.optimizer
    if isinstance(optimizer, Optim) and isinstance(size, int):
        return optimizer.for_batch(size)
    return optimizer


def _some(loader: Loader, count: int) -> Tensor:
    """Up to `count` training images as they are stored, uint8."""
    taken: list[Tensor] = []
    for batch in loader:
        taken.append(batch.images)
        if sum(map(len, taken)) >= count:
            break
    loader.at(0, 0)
    return torch.cat(taken)[:count]


def resolved(
    recipe: Recipe, splits: Splits, loader: Loader, world: World
) -> tuple[Recipe, dict[str, float]]:
    """The recipe with everything explicit that depends on data and machine, and what was timed."""
    images = _some(loader, _SEEN)
    preprocess = _fitted(recipe.preprocess, images)
    augment = tuple(_fitted(change, images) for change in recipe.augment)
    recipe = recipe.replaced(preprocess=preprocess, augment=augment, optimizer=_scaled(recipe))
    train, seconds = _fast(recipe, loader, images, splits, world)
    return recipe.replaced(train=train), seconds


def _fitted(item: Any, images: Tensor) -> Any:
    return item.fitted(images) if isinstance(item, Ingredient) and hasattr(item, "fitted") else item


def _fast(
    recipe: Recipe, loader: Loader, images: Tensor, splits: Splits, world: World
) -> tuple[Any, dict[str, float]]:
    """Precision, layout and compilation, chosen by timing steps of a copy of the model."""
    train = recipe.train
    candidates = {
        "auto": [torch.float32, torch.bfloat16] if _has_bf16(world.device) else [torch.float32],
        "float32": [torch.float32],
        "bfloat16": [torch.bfloat16],
    }[train.precision]
    layouts = [False, True] if train.channels_last == "auto" else [bool(train.channels_last)]
    if len(candidates) * len(layouts) == 1:
        speed = measured(nn.Identity(), images, images, lambda a, b: a, candidates, layouts)
    else:
        net, _ = network(recipe, len(splits.train.classes), images.shape[1], pretrained=False)
        model = Classifier(recipe.preprocess(), copy.deepcopy(net), splits.train.classes)
        some = images[: loader.batch_size]
        labels = torch.zeros(len(some), len(splits.train.classes), device=some.device)
        labels[:, 0] = 1
        loss = recipe.loss if isinstance(recipe.loss, Loss) else nn.functional.cross_entropy
        speed = measured(model.to(some.device), some, labels, loss, candidates, layouts)
    found = {
        "precision": str(speed.precision).removeprefix("torch."),
        "channels_last": speed.channels_last,
        "compile": False if train.compile == "auto" else train.compile,
    }
    speed_table = {name: round(value, 4) for name, value in speed.seconds.items()}
    agreed = world.agree((found, speed_table))
    return train.replaced(**agreed[0]), agreed[1]


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu"


def steps_of(recipe: Recipe, loader: Loader) -> int:
    """Updates in the whole run."""
    return max(1, ceil(recipe.train.epochs * len(loader) / recipe.train.accumulate))
