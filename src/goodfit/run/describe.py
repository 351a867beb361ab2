"""What a job is, in words: its data, its speed, and what a dry run says."""

from goodfit.data import Splits
from goodfit.recipe.read import to_toml
from goodfit.run.build import build, steps_of
from goodfit.run.fitting import cost_share
from goodfit.run.job import Job
from goodfit.run.pace import step_seconds


def described(splits: Splits) -> str:
    """The data in a sentence."""
    counts = ", ".join(f"{len(part):,} {name}" for name, part in splits.parts().items())
    lines = [f"data: {counts} images in {len(splits.classes)} classes; {splits.how}"]
    lines += [f"note: {note}" for note in splits.notes]
    if splits.skipped:
        first = splits.skipped[0]
        lines.append(f"skipped {len(splits.skipped)} unreadable: {first.name} ({first.reason})")
    return "\n".join(lines)


def timed_rows(timed: dict[str, float]) -> dict[str, str]:
    return {f"step in {name}": f"{seconds * 1e3:.0f} ms" for name, seconds in timed.items()}


def fastest(timed: dict[str, float]) -> str:
    name, seconds = min(timed.items(), key=lambda item: item[1])
    others = ", ".join(f"{k} {v * 1e3:.0f} ms" for k, v in timed.items() if k != name)
    return f"{seconds * 1e3:.0f} ms in {name}" + (f" ({others})" if others else "")


def describe(job: Job) -> str:
    """What `--dry-run` prints: data, model, expected time, and the resolved recipe."""
    pieces = build(job.recipe, job.loader, job.splits.train.classes, job.loader.channels, job.world)
    total, a_step = steps_of(job.recipe, job.loader), step_seconds(job, pieces)
    weights = sum(p.numel() for p in pieces.model.parameters())
    minutes = total * a_step * cost_share(job.recipe.train) / 60
    smaller = " at full image size" if job.recipe.train.sizes else ""
    return "\n".join(
        [
            *(f"# {line}" for line in described(job.splits).splitlines()),
            f"# model: {weights:,} parameters; lr {pieces.optimizer.param_groups[0]['lr']:g}",
            f"# time: {total} steps of {a_step * 1e3:.0f} ms{smaller}, about {minutes:.1f} minutes",
            f"# would be written to: {job.directory.path}",
            to_toml(job.recipe),
        ]
    )
