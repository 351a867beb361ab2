"""The report of a finished run: its files and a few pictures become one page."""

import time
from typing import Any

import goodfit
from goodfit.augment.pipeline import Pipeline
from goodfit.batch import Batch
from goodfit.data import Source
from goodfit.ingredient import page
from goodfit.metrics import Metrics
from goodfit.recipe.own import Own
from goodfit.recipe.read import to_toml
from goodfit.report.html import run_html
from goodfit.report.pictures import picture
from goodfit.report.records import (
    Averaged,
    EvaluationRow,
    Found,
    MistakePicture,
    Picture,
    RunReport,
    StepRow,
)
from goodfit.report.words import duration
from goodfit.run.checkpoint import load_state
from goodfit.run.job import Job, changes_of
from goodfit.run.load import Run

_EXACT = {"identity": "approximate", "views": "exact", "samples": "Monte Carlo"}


def write_report(job: Job, run: Run) -> None:
    """Write report.html."""
    result = run.result
    metrics = Metrics.model_validate(result["metrics"])
    report = RunReport(
        name=run.path.name,
        split=result["split"],
        metrics=metrics,
        validation=result["validation"] and Metrics.model_validate(result["validation"]),
        steps=tuple(StepRow(**row) for row in run.directory.lines("steps.jsonl")),
        evaluations=tuple(EvaluationRow(**row) for row in run.directory.lines("evaluations.jsonl")),
        findings=findings_of(run),
        mistakes=_mistakes(job, run, metrics, result["split"]),
        augmented=_augmented(job),
        averaged=tuple(_averaged(job)),
        data=_data(run.data),
        cost={
            "training": duration(result["train_seconds"]),
            "updates": f"{result['steps']:,}",
            "parameters": f"{result['parameters']:,}",
            "weights evaluated": result["weights"],
            "views": ", ".join(result["views"]) or "center",
        },
        machine={k: str(v) for k, v in run.directory.read("machine.json").items() if v},
        recipe=to_toml(job.recipe),
        made=f"{time.strftime('%Y-%m-%d %H:%M')}, goodfit {goodfit.__version__}",
    )
    run.directory.write("report.html", run_html(report))


def findings_of(run: Run) -> tuple[Found, ...] | None:
    """What the doctor found during training; None when it did not look."""
    if not (run.path / "findings.json").exists():
        return None
    return tuple(Found(**row) for row in run.directory.read("findings.json"))


def _mistakes(job: Job, run: Run, metrics: Metrics, split: str) -> tuple[MistakePicture, ...]:
    source: Source = job.splits.parts()[split]
    places = load_state(run.path / f"{split}.pt")["places"]
    classes = job.splits.classes
    shown = []
    for mistake in metrics.mistakes[:24]:
        place = int(places[mistake.index])
        shown.append(
            MistakePicture(
                name=source.name(place),
                label=classes[mistake.label],
                predicted=classes[mistake.predicted],
                confidence=mistake.confidence,
                label_probability=mistake.label_probability,
                data=picture(source[place][0]),
            )
        )
    return tuple(shown)


def _augmented(job: Job, count: int = 16) -> tuple[Picture, ...]:
    """Training images as the net sees them, in the first epoch."""
    batch: Batch = next(iter(job.loader.at(0, 0)))
    seen = Pipeline(changes_of(job), job.recipe.train.seed)(batch)
    classes = job.splits.classes
    names = [classes[label] for label in batch.targets[:count].argmax(1).tolist()]
    return tuple(
        Picture(data=picture(image), alt=f"augmented {name}", lines=(name,))
        for image, name in zip(seen.images[:count], names, strict=False)
    )


def _averaged(job: Job) -> list[Averaged]:
    rows = []
    for change in job.recipe.augment:
        said = "" if isinstance(change, Own) else page(type(change).__module__)
        paragraph = (
            said[said.find("At test time") :].split("\n\n")[0] if "At test time" in said else ""
        )
        rows.append(
            Averaged(
                name=change.name,
                draws=said.split("\n")[0],
                testing=" ".join(paragraph.split()) or "The image is used as it is.",
                exact=_EXACT[change.marginal],
            )
        )
    return rows


def _listed(skipped: list[dict[str, str]], most: int = 20) -> str:
    """Files that were left out, each with its reason."""
    said = "; ".join(f"{item['name']} ({item['reason']})" for item in skipped[:most])
    return said + (f"; and {len(skipped) - most:,} more" if len(skipped) > most else "")


def _data(data: dict[str, Any]) -> dict[str, str]:
    rows = {
        "origin": str(data["origin"]),
        "images": ", ".join(f"{count:,} {name}" for name, count in data["images"].items()),
        "classes": str(len(data["classes"])),
        "split": str(data["split"]),
        "median size": f"{data['median_width']} x {data['median_height']} pixels",
        "fingerprint": str(data["fingerprint"]),
    }
    if data["skipped"]:
        rows["unreadable"] = _listed(data["skipped"])
    return rows | {f"note {i}": note for i, note in enumerate(data["notes"], 1)}
