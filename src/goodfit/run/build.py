"""From a recipe to its pieces: the only place that knows which ingredient needs what."""

import inspect
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.check.own import line_of
from goodfit.data.loader import Loader
from goodfit.errors import GoodfitError, RecipeError
from goodfit.optim import Optim, table
from goodfit.predict import Classifier
from goodfit.rand import key_of
from goodfit.recipe.own import Own
from goodfit.recipe.recipe import Recipe
from goodfit.run.world import World


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
    model = _made(settings, classes, channels)
    if not isinstance(model, nn.Module):
        raise RecipeError(
            f"{recipe.model.name} gave a {type(model).__name__}, not an nn.Module",
            at="model",
            fix="return an nn.Module that maps images (n, c, h, w) to logits (n, k)",
        )
    return model, [f"{change.name}: {change(model)}" for change in recipe.layers]


def _made(settings: Any, classes: int, channels: int) -> nn.Module:
    """The net; what goes wrong in a class of the user's own is one message."""
    try:
        return settings(classes, channels)  # type: ignore[no-any-return]
    except Exception as error:
        if not isinstance(settings, Own) or isinstance(error, GoodfitError):
            raise
        raise RecipeError(
            f"{settings.kind} makes no net",
            at=line_of(error),
            seen=f"{type(error).__name__}: {error}",
            fix="mend it, so that it takes its settings and returns an nn.Module",
        ) from error


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
    return partial(loss.target, **loss.settings) if loss.settings else loss.target


def build(
    recipe: Recipe, loader: Loader, classes: tuple[str, ...], channels: int, world: World
) -> Pieces:
    """Everything a resolved recipe names, built, initialized and moved to the device."""
    net, said = network(recipe, len(classes), channels)
    seeded(recipe.train.seed, "init")
    model = Classifier(recipe.preprocess(), net, classes)
    said += initialized(recipe, model, lambda: some_images(loader, 256))
    model = model.to(world.device)
    if recipe.train.channels_last is True:
        model = model.to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(net)
    if isinstance(recipe.optimizer, Optim):
        said.append(table(recipe.optimizer.groups(net)))
    precision = torch.bfloat16 if recipe.train.precision == "bfloat16" else torch.float32
    return Pieces(model, optimizer, loss_of(recipe), precision, tuple(said))


def initialized(recipe: Recipe, model: Classifier, images: Callable[[], Tensor]) -> list[str]:
    """Run the recipe's inits on the net, which is on the CPU; a line on each.

    images: gives training images as they are stored, wherever they lie, to inits that look at some.
    """
    said = []
    for init in recipe.init:
        needs_images = getattr(init, "needs_images", False)
        seen = (model.preprocess(images().cpu()),) if needs_images else ()
        done = init(model.net, *seen)
        said.append(init.name if done is None else f"{init.name}: {done}")
    return said


def some_images(loader: Loader, count: int) -> Tensor:
    """Up to `count` training images as they are stored, uint8."""
    taken: list[Tensor] = []
    for batch in loader:
        taken.append(batch.images)
        if sum(map(len, taken)) >= count:
            break
    loader.at(0, 0)
    return torch.cat(taken)[:count]


def left_to_change(recipe: Recipe, loader: Loader) -> tuple[Any, ...]:
    """The augmentations that are left for the batch: decoding may have done the first one."""
    return recipe.augment[1:] if loader.boxes is not None else recipe.augment


def steps_of(recipe: Recipe, loader: Loader) -> int:
    """Updates in the whole run."""
    return max(1, ceil(recipe.train.epochs * len(loader) / recipe.train.accumulate))
