"""Testing a model: the validation split guides, the test split is touched once, at the end."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goodfit.batch import Batch
from goodfit.data import Source
from goodfit.data.loader import Loader
from goodfit.metrics import Score, evaluate, score, temperature
from goodfit.predict import predict
from goodfit.recipe.recipe import Recipe
from goodfit.run.checkpoint import save_state
from goodfit.run.job import Job
from goodfit.run.world import World


class Rows(NamedTuple):
    """What was predicted for some images."""

    probabilities: Tensor  # (n, k)
    labels: Tensor  # (n,)
    places: Tensor  # (n,), each image's index in its source


def testing_loader(
    source: Source, recipe: Recipe, channels: int, world: World, size: int | None = None
) -> Loader:
    """Every image of `source` once, in order, cut as testing cuts them."""
    return Loader(
        source,
        recipe.evaluate.batch_size,
        size=size or recipe.evaluate.image_size or recipe.train.image_size,
        channels=channels,
        device=world.device,
        workers=recipe.train.workers,
        rank=world.rank,
        world=world.size,
        resize=recipe.evaluate.resize,
    )


def tested_rows(
    model: nn.Module, loader: Loader, recipe: Recipe, world: World, *, quick: bool = False
) -> Rows:
    """Probabilities and labels on the CPU, of the images that could be read, in order.

    All processes share the work and get the whole result. `quick` takes the center view alone.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    rows = predict(
        model,
        _noted(loader, seen),
        augment=() if quick else recipe.augment,
        views=None if quick else recipe.evaluate.views or None,
        size=recipe.train.image_size,
        samples=0 if quick else recipe.evaluate.samples,
        average=recipe.evaluate.average,
        precision=precision_of(recipe),
        seed=recipe.train.seed,
    )
    index, labels = (torch.cat(part).cpu() for part in zip(*seen, strict=True))
    index, rows, labels = (world.gathered(x) for x in (index, rows, labels))
    order = index.argsort()
    return Rows(rows[order], labels[order], index[order])


def precision_of(recipe: Recipe) -> torch.dtype:
    """The precision that a resolved recipe trains and tests in."""
    return torch.bfloat16 if recipe.train.precision == "bfloat16" else torch.float32


def _noted(batches: Iterable[Batch], seen: list[tuple[Tensor, Tensor]]) -> Iterator[Batch]:
    """The batches; of each the index and labels are kept, and no image."""
    for batch in batches:
        seen.append((batch.index, batch.targets.argmax(1)))
        yield batch


def glance(job: Job, model: nn.Module) -> Score:
    """Accuracy and loss on the validation split, between epochs."""
    loader = job.testing["val"]
    found = tested_rows(model, loader, job.recipe, job.world, quick=True)
    return score(found.probabilities, found.labels)


def tested(job: Job, model: nn.Module, *, seconds: float, steps: int) -> None:
    """Evaluate the finished model, once, and write result.json."""
    classes = job.splits.classes
    found = {
        name: tested_rows(model, loader, job.recipe, job.world)
        for name, loader in job.testing.items()
    }
    guide, warmth = found.get("val"), None
    if guide is not None:
        warmth = temperature(guide.probabilities.clamp_min(1e-12).log(), guide.labels)
    metrics = {
        name: evaluate(rows.probabilities, rows.labels, classes, temperature=warmth)
        for name, rows in found.items()
    }
    split = "test" if "test" in found else "val"
    result: dict[str, Any] = {
        "split": split,
        "weights": _which(job.recipe),
        "views": list(job.recipe.evaluate.views),
        "metrics": metrics[split].model_dump(mode="json"),
        "validation": None if guide is None else metrics["val"].model_dump(mode="json"),
        "train_seconds": round(seconds, 2),
        "steps": steps,
        "peak_bytes": peak_bytes(job.world.device),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if job.world.main:
        for name, rows in found.items():
            save_state(job.directory.path / f"{name}.pt", {"step": steps, **rows._asdict()})
        job.directory.write("result.json", result)


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has held: on the GPU where it trains there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _which(recipe: Recipe) -> str:
    if recipe.train.ema:
        return f"exponential average of the run (decay {recipe.train.ema:g})"
    return f"average of the last {recipe.train.swa:.0%}" if recipe.train.swa else "last step"
