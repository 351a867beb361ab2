"""The model card: what a trained net is, how good it is, and where it ends, in Markdown.

Source: Mitchell et al. 2019, arXiv:1810.03993.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import goodfit
from goodfit.errors import RunError
from goodfit.metrics import Calibration, ClassScore, Interval, Metrics
from goodfit.report.words import SPLITS, between, digits_of, duration, plain
from goodfit.run.directory import RunDirectory
from goodfit.run.load import Run

_MOST_CLASSES = 50  # rows of the table of classes
_MOST_CONFUSED = 5


def card(run: Run, exported: Mapping[str, Any] | None = None) -> str:
    """The card of a finished run; `exported` are the facts of the file that it lies beside."""
    if not run.finished:
        raise RunError(
            "a run without a result has no model card",
            at=str(run.path),
            fix=f"finish it: `goodfit resume {run.path}`",
        )
    metrics = Metrics.model_validate(run.result["metrics"])
    parts = [
        f"# {_cell(run.path.resolve().name)}",
        _summary(run, metrics),
        *_section("Data", _data(run)),
        *_section("Recipe", _recipe(run)),
        *_section("Results", _results(run, metrics)),
        *_section("Classes", _classes(metrics)),
        *_section("Limits", _limits(run, metrics)),
        *_section("Use", _use(run, exported)),
        f"Written by goodfit {goodfit.__version__}.",
    ]
    return "\n\n".join(parts) + "\n"


def write_card(
    run: Run, path: str | Path | None = None, exported: Mapping[str, Any] | None = None
) -> Path:
    """Write the card to `path`, RUN/card.md by default."""
    place = Path(path) if path else run.path / "card.md"
    return RunDirectory(place.parent).write(place.name, card(run, exported))


def _section(title: str, lines: Iterator[str]) -> list[str]:
    return [f"## {title}", "\n".join(lines)]


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('-' * (len(h) + 2) for h in head)}|"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(said: str) -> str:
    """Text that cannot break out of its cell or become markup: file names can hold anything."""
    text = plain(said).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|`*_[]#":
        text = text.replace(mark, f"\\{mark}")
    return text


def _summary(run: Run, m: Metrics) -> str:
    split = SPLITS[run.result["split"]]
    return (
        f"Tells {len(m.classes)} classes of images apart. Accuracy "
        f"{between(m.accuracy, digits_of(m))} on {m.images:,} {split} images "
        f"({m.level:.0%} interval)."
    )


def _data(run: Run) -> Iterator[str]:
    data = run.data
    counts = ", ".join(f"{count:,} {name}" for name, count in data["images"].items())
    yield f"- origin: {_cell(str(data['origin']))}, fingerprint `{data['fingerprint']}`"
    yield f"- images: {counts}; median {data['median_width']} x {data['median_height']} pixels"
    yield f"- split: {_cell(str(data['split']))}"
    per_class = data.get("per_class", {}).get("train") or {}
    if per_class:
        few, many = min(per_class.values()), max(per_class.values())
        yield f"- training images per class: {few:,} to {many:,}"
    if data["skipped"]:
        yield f"- unreadable and left out: {len(data['skipped'])}"
    yield from (f"- note: {_cell(note)}" for note in data["notes"])


def _recipe(run: Run) -> Iterator[str]:
    recipe, result = run.recipe, run.result
    train = recipe.train
    if recipe.about:
        yield f"- {_cell(recipe.about)}"
    together = _members(run)
    if together:
        yield f"- {_cell(together)}; the following is the recipe of the first"
    yield f"- model: {recipe.model.name}, {result['parameters']:,} parameters"
    yield f"- preprocessing, inside the model: {recipe.preprocess.name}"
    names = ", ".join(change.name for change in recipe.augment) or "none"
    yield f"- augmentation: {names}"
    yield f"- loss: {recipe.loss.name}"
    yield f"- optimizer: {recipe.optimizer.name}, schedule: {recipe.schedule.name}"
    yield (
        f"- {train.epochs:g} epochs, batches of {train.batch_size}, "
        f"images of {train.image_size} pixels, seed {train.seed}"
    )
    yield f"- weights: {_cell(result['weights'])}"
    yield f"- training took {duration(result['train_seconds'])}"


def _members(run: Run) -> str:
    if not (run.path / "members.json").exists():
        return ""
    about = run.directory.read("members.json")
    return f"an ensemble ({about['how']}) of {', '.join(m['name'] for m in about['members'])}"


def _results(run: Run, m: Metrics) -> Iterator[str]:
    digits, split = digits_of(m), SPLITS[run.result["split"]]
    views = ", ".join(run.result["views"]) or "center"
    yield f"On {m.images:,} {split} images, views: {views}. Intervals hold {m.level:.0%} for"
    yield "the sampling of these images, not for the luck of the training seed.\n"
    rows = [("accuracy", between(m.accuracy, digits))]
    rows += [("top-5 accuracy", between(m.top5, digits))] if m.top5 else []
    rows += [("mean recall of the classes", f"{m.balanced_accuracy:.{digits}%}")]
    rows += [("macro F1", f"{m.macro_f1:.3f}")]
    rows += _calibration("as trained", m.calibration)
    if m.scaled is not None and m.temperature is not None:
        rows += _calibration(f"at temperature {m.temperature:.3g}", m.scaled)
    yield from _table(("measure", "value"), iter(rows))


def _calibration(name: str, c: Calibration) -> list[tuple[str, str]]:
    figures = [("NLL", c.nll), ("Brier score", c.brier), ("calibration error (ECE)", c.ece)]
    return [(f"{what}, {name}", _figure(i)) for what, i in figures]


def _figure(i: Interval) -> str:
    return f"{i.value:.3f} ({i.low:.3f} to {i.high:.3f})"


def _classes(m: Metrics) -> Iterator[str]:
    digits = digits_of(m)
    shown = list(m.per_class)
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=_recall)[:_MOST_CLASSES]
        yield f"The {_MOST_CLASSES} of {len(m.classes)} classes with the lowest recall.\n"
    yield from _table(
        ("class", "images", "recall", "precision"),
        (
            (
                row.name,
                f"{row.images:,}",
                between(row.recall, digits) if row.recall else "no images",
                between(row.precision, digits) if row.precision else "never predicted",
            )
            for row in shown
        ),
    )


def _recall(row: ClassScore) -> float:
    return row.recall.value if row.recall else 2.0


def _limits(run: Run, m: Metrics) -> Iterator[str]:
    width, height = run.data["median_width"], run.data["median_height"]
    yield (
        f"- It knows these {len(m.classes)} classes alone, and names one of them for any image, "
        "also for one that shows none of them."
    )
    yield (
        "- The figures hold for images like those of the data above (median "
        f"{width} x {height} pixels); for other cameras, places or times measure them anew."
    )
    if run.result["split"] != "test":
        yield (
            "- There was no test split: the figures come from validation images, which may have "
            "guided choices, and are too good by an unknown amount."
        )
    worst = min((row for row in m.per_class if row.recall), key=_recall)
    assert worst.recall is not None
    found = between(worst.recall, digits_of(m))
    yield f"- Weakest class: {_cell(worst.name)}, recall {found} on {worst.images:,} images."
    confused = sorted((c for c in m.confusion if c[0] != c[1]), key=lambda c: -c[2])
    if confused:
        said = ", ".join(
            f"{m.classes[a]} as {m.classes[b]} ({count})"
            for a, b, count in confused[:_MOST_CONFUSED]
        )
        yield f"- Most frequent mistakes: {_cell(said)}."
    fair = m.scaled or m.calibration
    yield (
        f"- Its confidence is off by {fair.ece.value:.1%} on average"
        + (", after temperature scaling." if m.scaled else ".")
    )


def _use(run: Run, exported: Mapping[str, Any] | None) -> Iterator[str]:
    name = run.path.resolve().name
    form = None if exported is None else exported["format"]
    if exported is not None:
        yield (
            f"`{exported['file']}` ({form}) takes {exported['input']}: of every image "
            f"{exported['preparation']}. It gives {exported['output']}. On "
            f"{exported['checked_on_images']} real images its probabilities differ from the "
            "run's by at most "
            f"{exported['largest_probability_difference']:.2g}.\n"
        )
        if exported["weights"] != "last":
            yield (
                f"It holds the weights called {exported['weights']}; the figures above and the "
                "temperature are those of the last ones.\n"
            )
    yield "```python"
    if exported is None or form == "safetensors":
        yield "from goodfit.run.load import Run\n"
        yield f"model = Run({name!r}).classifier()  # logits = model(images), uint8 or 0..1"
    elif form == "onnx":
        yield "import onnxruntime\n"
        yield f"session = onnxruntime.InferenceSession({exported['file']!r})"
        yield 'logits = session.run(None, {"images": images})[0]'
    else:
        yield "import torch\n"
        yield f"model = torch.export.load({exported['file']!r}).module()"
        yield "logits = model(images)"
    yield "```\n"
    warmth = run.result["metrics"]["temperature"]
    yield f"Probabilities: softmax(logits / {warmth or 1:.4g}). Or on the command line:"
    yield f"`goodfit predict {name} IMAGES`."
