"""The audit of a recipe's net and augmentations, of a run's, or of a model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from goodfit.audit import Audit, audit_augment
from goodfit.audit import audit as audit_model
from goodfit.batch import Batch
from goodfit.check.own import made
from goodfit.errors import DataError, RecipeError
from goodfit.predict import Classifier
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import build, initialized, network
from goodfit.run.checked import Augmented
from goodfit.run.doctor import is_code, job_of
from goodfit.run.fitting import suited
from goodfit.run.job import changes_of
from goodfit.run.load import Run
from goodfit.run.resolve import fitted
from goodfit.run.start import prepare

_IMAGES, _DRAWS = 16, 16  # for augmentations, whose every draw is a pass of the whole net


def audit(
    what: nn.Module | Recipe,
    batch: Any,
    *,
    draws: int = 256,
    false_alarm: float = 0.01,
    seed: int = 0,
) -> Audit:
    """Compare, for every random part of a model or a recipe, training's average with evaluation.

    batch: a Batch, a tensor of images (n, c, h, w), or (images, classes or probabilities), of
    training images. A recipe is fitted on them, its net is built, and its augmentations are
    compared as well: what one view of an image is from the average over them, to this net. For a
    model see `goodfit.audit.audit`.
    """
    if isinstance(what, Recipe):
        batch = _as_batch(batch)
        model, changes = _built(what, batch)
        return _together(model, batch.images, changes, batch, draws, false_alarm, seed)
    return audit_model(what, batch, draws=draws, false_alarm=false_alarm, seed=seed)


def audited(what: str, data: str | None, *, draws: int, seed: int) -> Audit:
    """What `goodfit audit` does with its words: a recipe, a run, or one's own (model, images)."""
    if is_code(what):
        found = made(what)
        if not isinstance(found, tuple | list) or len(found) < 2:
            raise RecipeError(
                f"{what} returns no net and images",
                seen=type(found).__name__,
                fix="return (model, images)",
            )
        return audit_model(found[0], found[1], draws=draws, seed=seed)
    if (Path(what) / "recipe.toml").is_file():
        run = Run(what)
        job = prepare(data if data is not None else run.recipe.data, run.recipe, dry=True)
        model: nn.Module = run.classifier()
    else:
        job = job_of(what, data, None)
        classes, channels = job.splits.train.classes, job.loader.channels
        model = build(job.recipe, job.loader, classes, channels, job.world).model
    trained_on = next(iter(Augmented(job))).images
    plain = next(iter(job.loader.at(0, 0)))
    return _together(model, trained_on, changes_of(job), plain, draws, 0.01, seed)


def _together(
    model: nn.Module,
    images: Tensor,
    changes: tuple[Any, ...],
    batch: Batch,
    draws: int,
    false_alarm: float,
    seed: int,
) -> Audit:
    """The audit of the layers on `images`, and of the augmentations on the plain `batch`."""
    each = false_alarm / (2 if changes else 1)
    layers = audit_model(model, images, draws=draws, false_alarm=each, seed=seed)
    if not changes:
        return layers
    few = batch._replace(
        images=batch.images[:_IMAGES], targets=batch.targets[:_IMAGES], index=batch.index[:_IMAGES]
    )
    fewer = min(draws, _DRAWS)
    augment = audit_augment(model, changes, few, draws=fewer, false_alarm=each, seed=seed)
    return Audit((*layers.findings, *augment.findings), false_alarm)


def _as_batch(given: Any) -> Batch:
    """Whatever images and classes came as."""
    if isinstance(given, Batch):
        return given
    pair = isinstance(given, tuple | list) and len(given) == 2
    images, targets = given if pair else (given, None)
    if not isinstance(images, Tensor) or images.ndim != 4 or not len(images):
        raise DataError(
            "a recipe is audited on a batch of training images",
            seen=str(tuple(images.shape)) if isinstance(images, Tensor) else type(images).__name__,
            fix="give a Batch, or images of shape (n, c, h, w)",
        )
    targets = torch.zeros(len(images), dtype=torch.int64) if targets is None else targets
    if targets.ndim == 1:
        targets = nn.functional.one_hot(targets.long()).float()
    return Batch(images, targets.to(images.device), torch.arange(len(images)))


def _built(recipe: Recipe, batch: Batch) -> tuple[Classifier, tuple[Any, ...]]:
    """The recipe's classifier as it is before training, and its augmentations, fitted."""
    images = batch.images
    recipe = recipe.replaced(**suited(recipe, min(images.shape[-2:])))
    preprocess, changes = fitted(recipe.preprocess, images), recipe.augment
    changes = tuple(fitted(change, images) for change in changes)
    classes = tuple(str(number) for number in range(max(2, batch.targets.shape[1])))
    net, _ = network(recipe, len(classes), images.shape[1])
    model = Classifier(preprocess(), net, classes)
    initialized(recipe, model, lambda: images)
    return model.to(images.device), changes
