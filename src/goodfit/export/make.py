"""Exporting a run: write beside, run the file on real images, keep it only if it agrees."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

import goodfit
from goodfit.errors import DataError, ModelError, RunError
from goodfit.export.card import write_card
from goodfit.export.graph import (
    Runner,
    run_onnx,
    run_safetensors,
    run_torch,
    write_onnx,
    write_safetensors,
    write_torch,
)
from goodfit.predict import Classifier
from goodfit.recipe.read import to_toml
from goodfit.run.directory import replacing, writing
from goodfit.run.evaluate import testing_loader
from goodfit.run.load import Run
from goodfit.run.start import open_data
from goodfit.run.world import World

Format = Literal["onnx", "torch-export", "safetensors"]
Pixels = Literal["uint8", "float"]
SUFFIX: dict[str, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
TOLERANCE = 1e-3  # of a probability: above, the file is not kept
_CHECKED = 64  # images, at most


class Exported(NamedTuple):
    """A written file, and how far it is from the run on `images` real images."""

    path: Path
    card: Path
    images: int
    probability_difference: float
    logit_difference: float


def export(
    run: Run | str | Path,
    form: Format = "onnx",
    *,
    out: str | Path | None = None,
    pixels: Pixels = "uint8",
    weights: str = "last",
    data: Any = None,
) -> Exported:
    """Write `run` to `out` (RUN/export/NAME.onnx by default), with a card and a JSON beside it.

    data: images to check the file with, where the run's own cannot be opened again.
    Raises ModelError, and leaves no file, where the file does not compute what the run does.
    """
    run = run if isinstance(run, Run) else Run(run)
    for value, known, option in ((form, Format, "--format"), (pixels, Pixels, "--pixels")):
        if value not in get_args(known):
            raise RunError(
                f"{option} cannot be {value!r}",
                known=", ".join(get_args(known)),
                fix=f"write one of these after {option}",
            )
    if not run.finished:
        raise RunError(
            "an unfinished run is not exported: nothing is known of how good it is",
            at=str(run.path),
            fix=f"finish it: `goodfit resume {run.path}`",
        )
    model = run.classifier(weights, "cpu")
    images = real_images(run, data)
    given = images if pixels == "uint8" else images.float() / 255
    path = Path(out) if out else run.path / "export" / f"{run.path.resolve().name}{SUFFIX[form]}"
    about = about_of(run, tuple(images.shape[1:]), pixels, weights)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            runner = _written(run, model, form, given, beside, about)
            logits, sure = _differences(model, runner, images, given)
            if not sure <= TOLERANCE:
                raise ModelError(
                    "the exported file does not compute what the run does",
                    at=str(path),
                    seen=f"probabilities differ by up to {sure:.2g} on {len(images)} images",
                    limit=f"{TOLERANCE:g}",
                    fix="export in another --format",
                )
    facts = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": form,
        "checked_on_images": len(images),
        "largest_probability_difference": sure,
        "largest_logit_difference": logits,
    }
    described = {k: v for k, v in about.items() if k != "goodfit_recipe"}
    with writing(path):
        side = path.with_name(f"{path.name}.json")
        side.write_text(json.dumps(facts | described, indent=2, ensure_ascii=False) + "\n")
    page = write_card(run, path.with_name(f"{path.name}.md"), facts | described)
    return Exported(path, page, len(images), sure, logits)


def real_images(run: Run, data: Any = None) -> Tensor:
    """Some images as the run tests them, uint8: of validation, or of training without one."""
    if data is None and run.recipe.data is None:
        raise DataError(
            "this run's data came from Python, and the export is checked on real images",
            at=str(run.path),
            fix="give images of the same kind: --data DATA",
        )
    splits = run.splits() if data is None else open_data(data)[0]
    source = splits.val if len(splits.val) else splits.train
    loader = testing_loader(source, run.recipe, int(run.data["channels"]), World("cpu"))
    return next(iter(loader)).images[:_CHECKED].contiguous()


def about_of(run: Run, shape: tuple[int, ...], pixels: Pixels, weights: str) -> dict[str, str]:
    """What a program needs to use the file, as text by name: all three formats can hold that."""
    warmth = run.result["metrics"]["temperature"]
    share, (height, width) = run.recipe.evaluate.resize, shape[-2:]
    return {
        "goodfit_version": goodfit.__version__,
        "run": run.path.resolve().name,
        "weights": weights,
        "classes": json.dumps(list(run.classes), ensure_ascii=False),
        "input": f"images: {'uint8 in 0..255' if pixels == 'uint8' else 'float32 in 0..1'}, "
        f"(n, {', '.join(map(str, shape))})",
        "preparation": f"the center with {share:g} of the shorter side, scaled to "
        f"{height} x {width} pixels, antialiased",
        "output": f"logits: float32, (n, {len(run.classes)})",
        "temperature": f"{warmth or 1:.6g}",
        "goodfit_recipe": to_toml(run.recipe),
    }


def _written(
    run: Run, model: Classifier, form: Format, images: Tensor, path: Path, about: dict[str, str]
) -> Runner:
    """Write the file, and give what runs it."""
    write: Callable[..., None] = {
        "onnx": write_onnx,
        "torch-export": write_torch,
        "safetensors": write_safetensors,
    }[form]
    write(model, images[:2], path, about)
    if form == "safetensors":
        return run_safetensors(path, run)
    return run_onnx(path) if form == "onnx" else run_torch(path)


def _differences(
    model: Classifier, runner: Runner, images: Tensor, given: Tensor
) -> tuple[float, float]:
    """The largest difference of logits, and of probabilities, in batches of one and of the rest."""
    with torch.inference_mode():
        expected = model(images)
    parts = [given[:1], given[1:]] if len(given) > 1 else [given]
    found = torch.cat([runner(part) for part in parts])
    apart = (found - expected).abs().max(), (found.softmax(1) - expected.softmax(1)).abs().max()
    return float(apart[0]), float(apart[1])
