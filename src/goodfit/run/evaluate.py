"""Testing a model: the validation split guides, the test split is touched once, at the end."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from goodfit.batch import Batch
from goodfit.data import Source
from goodfit.data.loader import Loader
from goodfit.metrics import Metrics, evaluate, temperature
from goodfit.predict import predict

if TYPE_CHECKING:
    from goodfit.run.train import Job


def testing_loader(job: "Job", source: Source) -> Loader:
    """Every image of `source` once, in order, cut as testing cuts them."""
    return job.loader.for_testing(source, batch_size=job.recipe.evaluate.batch_size)


def probabilities(job: "Job", model: nn.Module, source: Source, *, quick: bool) -> Tensor:
    """(n, k) on the CPU, in the order of `source`; all processes share the work and the result."""
    recipe = job.recipe
    seen: list[Tensor] = []
    rows = predict(
        model,
        _noted(testing_loader(job, source), seen),
        augment=() if quick else recipe.augment,
        views=None if quick else recipe.evaluate.views,
        samples=0 if quick else recipe.evaluate.samples,
        average=recipe.evaluate.average,
        seed=recipe.train.seed,
    ).cpu()
    index = torch.cat(seen).cpu()
    if job.world.size > 1:
        rows, index = job.world.gathered(rows), job.world.gathered(index)
    ordered = torch.empty_like(rows)
    ordered[index] = rows
    return ordered


def _noted(batches: Iterable[Batch], seen: list[Tensor]) -> Iterator[Batch]:
    for batch in batches:
        seen.append(batch.index)
        yield batch


def scores(job: "Job", model: nn.Module, split: str, *, quick: bool) -> tuple[Tensor, Metrics]:
    """Probabilities and metrics of one split; `quick` leaves views and intervals' bootstrap out."""
    source = getattr(job.splits, split)
    found = probabilities(job, model, source, quick=quick)
    labels = torch.as_tensor(source.labels)
    return found, evaluate(found, labels, source.classes)


def tested(job: "Job", model: nn.Module, *, seconds: float, steps: int) -> dict[str, Any]:
    """Evaluate the finished model and write result.json."""
    val, val_metrics = scores(job, model, "val", quick=False)
    labels = torch.as_tensor(job.splits.val.labels)
    warmth = temperature(val.clamp_min(1e-12).log(), labels)
    split, found, truth = "val", val, labels
    metrics = val_metrics
    if job.splits.test is not None:
        split, truth = "test", torch.as_tensor(job.splits.test.labels)
        found, metrics = scores(job, model, "test", quick=False)
    calibrated = evaluate((found.clamp_min(1e-12).log() / warmth).softmax(1), truth, job.splits.train.classes)
    result = {
        "split": split,
        "weights": "average of the last part" if job.recipe.train.swa else "last",
        "views": list(job.recipe.evaluate.views),
        "temperature": float(warmth),
        "metrics": metrics.model_dump(mode="json"),
        "calibrated": calibrated.model_dump(mode="json"),
        "validation": val_metrics.model_dump(mode="json"),
        "train_seconds": round(seconds, 2),
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if job.world.main:
        job.directory.write("result.json", result)
        torch_rows = {"probabilities": found, "labels": truth}
        from goodfit.run.checkpoint import save_state

        save_state(job.directory.checkpoints / f"{split}.pt", {"step": steps, **torch_rows})
    return result
