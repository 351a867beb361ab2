"""A finished or running run, read back: its recipe, its classifier, its results."""

import csv
import io
import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from goodfit.data import Source, Splits, guess
from goodfit.data._files import pictures
from goodfit.data.adapted import matched
from goodfit.data.images import read_images
from goodfit.errors import DataError, RunError
from goodfit.metrics import Metrics, evaluate
from goodfit.predict import Classifier, predict
from goodfit.predict.quick import Quick, quick_for
from goodfit.recipe.read import read
from goodfit.recipe.recipe import Recipe
from goodfit.run.build import classifier
from goodfit.run.checkpoint import load_weights
from goodfit.run.committee import FILE, committee
from goodfit.run.directory import RunDirectory
from goodfit.run.evaluate import precision_of, tested_rows, testing_loader
from goodfit.run.world import World, pick_device


class Prediction(NamedTuple):
    """The likeliest classes of one image, best first."""

    image: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Run:
    """A run directory as an object. Raises RunError where it is incomplete or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory.open(path)
        self.path = self.directory.path

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return read(self.path)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The summary of the data it was trained on."""
        return dict(self.directory.read("data.json"))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the outputs."""
        return tuple(self.data["classes"])

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return (self.path / "result.json").exists()

    @property
    def result(self) -> dict[str, Any]:
        """result.json."""
        return dict(self.directory.read("result.json"))

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy of the result."""
        return float(self.result["metrics"]["accuracy"]["value"])

    def splits(self) -> Splits:
        """The data, opened again; RunError if it is no longer what the run was trained on."""
        if self.recipe.data is None:
            raise RunError(
                "this run's data came from Python and cannot be opened again",
                at=str(self.path),
                fix="give the data: goodfit evaluate RUN DATA",
            )
        splits: Splits = self.recipe.data()
        if splits.fingerprint() != self.data["fingerprint"]:
            raise RunError(
                "the data has changed since this run began",
                at=str(self.data["origin"]),
                was=self.data["fingerprint"],
                now=splits.fingerprint(),
                fix="restore the data, or train a new run",
            )
        return splits

    def classifier(self, weights: str = "last", device: str | None = None) -> Classifier:
        """The trained classifier, or an ensemble's members as one, ready to evaluate."""
        channels = int(self.data["channels"])
        if (self.path / FILE).exists():
            model = committee(self.directory, channels)
        else:
            model = classifier(self.recipe, self.classes, channels)
        load_weights(self.directory.checkpoints / f"{weights}.safetensors", model)
        return model.to(pick_device(device)).eval()

    def evaluate(
        self,
        data: str | None = None,
        *,
        split: str | None = None,
        views: tuple[str, ...] = (),
        samples: int = 0,
        weights: str = "last",
        device: str | None = None,
    ) -> Metrics:
        """Metrics on the run's own split (test, else val) or on other data, classes by name."""
        source = self._source(data, split)
        model = self.classifier(weights, device)
        world = World(device)
        recipe, channels = self.recipe, int(self.data["channels"])
        changed = {"views": views, "samples": samples}
        changed = {name: value for name, value in changed.items() if value}
        recipe = recipe.replaced(evaluate=recipe.evaluate.replaced(**changed))
        loader = testing_loader(source, recipe, channels, world)
        some = next(iter(loader)).images
        quick = quick_for(model, some, len(source), precision_of(recipe)).model
        rows = tested_rows(quick, loader, recipe, world)
        warmth = self.result["metrics"]["temperature"] if self.finished else None
        return evaluate(rows.probabilities, rows.labels, self.classes, temperature=warmth)

    def _source(self, data: str | None, split: str | None) -> Source:
        splits = self.splits() if data is None else self._others(data)
        names = [split] if split else ["test", "val", "train"]
        for name in names:
            source = getattr(splits, name, None)
            if source is not None and len(source):
                return matched(source, self.classes)
        raise DataError(
            f"there is no {split} split",
            at=data or str(self.path),
            known=", ".join(splits.parts()),
            fix="name one of these",
        )

    def _others(self, data: str) -> Splits:
        """Other data: all of it, where it brings no split; the run's own data as the run has it."""
        opened = guess(data)
        own, path = getattr(self.recipe.data, "path", None), getattr(opened, "path", None)
        if own and path and Path(own).expanduser().resolve() == Path(path).expanduser().resolve():
            return self.splits()
        everything: Splits = opened.replaced(val=0, test=0)()
        return everything

    def predict(
        self, images: list[Path], *, top: int = 3, weights: str = "last", device: str | None = None
    ) -> tuple[list[Prediction], list[Any]]:
        """(predictions, files that were skipped) with probabilities calibrated on validation."""
        model = self.classifier(weights, device)
        size = self.recipe.train.image_size
        assert size is not None
        rows: list[Prediction] = []
        skipped: list[Any] = []
        files = _files(images)
        warmth = float(self.result["metrics"]["temperature"] or 1) if self.finished else 1.0
        quick: Quick | None = None
        for start in range(0, len(files), 256):
            some = files[start : start + 256]
            pixels, places, bad = read_images(
                some, size, int(self.data["channels"]), resize=self.recipe.evaluate.resize
            )
            skipped += bad
            if not places:
                continue
            good = [some[place] for place in places]
            quick = quick or quick_for(
                model, pixels.to(next(model.parameters()).device), len(files)
            )
            found = predict(
                quick.model, pixels, augment=self.recipe.augment, views=self.recipe.evaluate.views
            )
            found = (found.cpu().clamp_min(1e-12).log() / warmth).softmax(1)
            best = found.topk(min(top, len(self.classes)), dim=1)
            for name, probs, places in zip(
                good, best.values.tolist(), best.indices.tolist(), strict=True
            ):
                rows.append(
                    Prediction(str(name), tuple(self.classes[p] for p in places), tuple(probs))
                )
        return rows, skipped


def _files(images: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in images:
        if path.is_dir():
            found += [path / name for name in pictures(path.absolute(), path.absolute())]
        elif path.exists():
            found.append(path)
        else:
            raise DataError("there is no such image", at=str(path), fix="correct the path")
    if not found:
        raise DataError(
            "there is no image in these folders", fix="name image files, or folders of them"
        )
    return found


def written(rows: list[Prediction], form: str) -> str:
    """Predictions as CSV (one row per image and class) or JSON."""
    if form == "json":
        return json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False) + "\n"
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["image", "rank", "class", "probability"])
    for row in rows:
        for rank, (name, prob) in enumerate(zip(row.classes, row.probabilities, strict=True), 1):
            table.writerow([row.image, rank, name, f"{prob:.6f}"])
    return out.getvalue()


def all_runs(folder: str | Path) -> list[Run]:
    """All runs in a folder, best accuracy first, unfinished ones last."""
    runs = [Run(p.parent) for p in sorted(Path(folder).glob("*/recipe.toml"))]
    if not runs:
        raise RunError(
            "there are no runs here", at=str(folder), fix="train one: goodfit train digits"
        )
    return sorted(runs, key=lambda run: -run.accuracy if run.finished else 1.0)
