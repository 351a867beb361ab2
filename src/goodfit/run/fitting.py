"""What a recipe leaves open is made to fit the data, the model and the time there is."""

import time
from collections.abc import Callable
from typing import Any

import torch

from goodfit.data import Data, Splits
from goodfit.models import Model
from goodfit.optim import Optim
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.recipe.recipe import Recipe, Train
from goodfit.run.build import network
from goodfit.run.choose import typical_side
from goodfit.run.machine import synchronize
from goodfit.run.world import World

_LARGEST = 8192  # images in a batch, beyond which nothing is tried
_SLOW = 2.0  # seconds of a step, beyond which a larger batch gains nothing on a CPU


def fitting(recipe: Recipe, splits: Splits, world: World, say: Callable[[str], None]) -> Recipe:
    """Image size, batch size, model and preprocessing made explicit."""
    train = recipe.train
    if train.image_size is None:
        side = typical_side(splits)
        train = train.replaced(image_size=round(side) if side <= 64 else 224)
    recipe = recipe.replaced(train=train, **suited(recipe, train.image_size))
    size = train.batch_size
    if size == "auto":
        size = world.agree(_largest(recipe, splits, world))
        say(f"batch_size auto: {size} images fit on {world.device}; {_rate(recipe, size)}")
    return recipe.replaced(train=train.replaced(batch_size=_whole(train, size, splits, world, say)))


def colored(
    recipe: Recipe, splits: Splits, opened: Data | None, say: Callable[[str], None]
) -> tuple[Splits, Data | None]:
    """Gray data with three equal channels, where the preprocessing is made for color."""
    own, model = recipe.preprocess, recipe.model
    constants = model.constants() if isinstance(model, Model) else None
    known = isinstance(own, ChannelStats) and (own.constants != "own" or len(own.mean) == 3)
    if splits.channels != 1 or not (known or (constants is not None and len(constants.mean) == 3)):
        return splits, opened
    if opened is None or opened.channels is not None:
        return splits, opened
    say("gray images get three equal channels, as the constants of the preprocessing have")
    opened = opened.replaced(channels=3)
    return opened(), opened


def _rate(recipe: Recipe, size: int) -> str:
    """What the optimizer's rule of scaling makes of the rate."""
    own = recipe.optimizer
    if not isinstance(own, Optim) or own.scale == "none":
        return "the lr is the recipe's"
    scaled = f"lr {own.scaled_lr(size):.3g}"
    return f"{scaled}, from {own.lr:g} for {own.base_batch} images ({own.scale} scaling)"


def _whole(
    train: Train, size: int, splits: Splits, world: World, say: Callable[[str], None]
) -> int:
    """A batch size that the data can fill and the processes can share."""
    unit = train.accumulate * world.size
    most = max(unit, len(splits.train) // 4 // unit * unit)
    if size > most:
        say(f"batch_size {size} is too large for {len(splits.train)} images: {most} is used")
        return most
    return max(1, size // unit) * unit


def suited(recipe: Recipe, side: int | None) -> dict[str, Any]:
    """The model for images of this side, and the preprocessing that its weights were trained on."""
    if not isinstance(recipe.model, Model) or side is None:
        return {}
    suited: dict[str, Any] = {"model": recipe.model.suited(side)}
    constants = recipe.model.constants()
    own = recipe.preprocess
    if constants is not None and isinstance(own, ChannelStats) and not own.mean:
        suited["preprocess"] = ChannelStats(mean=constants.mean, std=constants.std)
    return suited


def _largest(recipe: Recipe, splits: Splits, world: World) -> int:
    """The largest power of two whose training step fits into the device's memory.

    On a CPU, where memory is rarely the limit, the doubling ends at two seconds a step.
    """
    side, channels = recipe.train.image_size or 32, splits.channels
    net, _ = network(recipe, len(splits.classes), channels, pretrained=False)
    net = net.to(world.device).train()
    size, fits = 16, 16
    while size <= min(_LARGEST, max(16, len(splits.train) // 4)):
        began = time.monotonic()
        try:
            images = torch.rand(size, channels, side, side, device=world.device)
            output = net(images)
            (output if isinstance(output, torch.Tensor) else output[0]).float().sum().backward()
            synchronize(world.device)
        except torch.OutOfMemoryError:
            break
        net.zero_grad(set_to_none=True)
        fits = size
        if world.device.type == "cpu" and time.monotonic() - began > _SLOW:
            break
        size *= 2
    return fits


def cost_share(train: Train) -> float:
    """What steps cost when images grow during the run, as a share of steps at full size."""
    full = train.image_size or 1
    starts = [start for start, _ in train.sizes] + [1.0]
    parts = zip(train.sizes, starts[1:], strict=False)
    return sum((end - start) * (side / full) ** 2 for (start, side), end in parts) or 1.0


def epochs_in(recipe: Recipe, minutes: float, step_seconds: float, batches: int) -> float:
    """How many epochs `minutes` allow, when a step at full image size takes `step_seconds`.

    Steps on smaller images cost in proportion to their pixels.
    """
    train = recipe.train
    steps = max(1.0, 60 * minutes / (step_seconds * cost_share(train)))
    return round(steps * train.accumulate / batches, 4)
