"""train, resume, evaluate, predict."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from goodfit.cli import options


class How(StrEnum):
    """What of a net with pretrained weights is trained."""

    auto = "auto"
    probe = "probe"
    two_phase = "two-phase"
    gradual = "gradual"
    fine_tune = "fine-tune"


class Table(StrEnum):
    """How predictions are written."""

    csv = "csv"
    json = "json"


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: goodfit train photos/ --epochs 20 --set optimizer.lr=0.05")(train)
    app.command(epilog="Example: goodfit resume runs/photos-2026-11-23-141200")(resume)
    app.command(epilog="Example: goodfit evaluate runs/photos --views ten-crop")(evaluate)
    app.command(epilog="Example: goodfit predict runs/photos new/*.jpg --format csv")(predict)


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder by class, a CSV file, an .npz file, or a set's name; "
            "may be left out if the recipe has [data]."
        ),
    ] = None,
    recipe: options.Recipe = None,
    set_: options.Set = None,
    epochs: Annotated[float | None, typer.Option(help="How often to go through the data.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes to train; sets the epochs.")
    ] = None,
    batch_size: Annotated[str | None, typer.Option(help="Images per update, or `auto`.")] = None,
    weights: Annotated[
        str | None, typer.Option("--from", help="Pretrained weights: a timm name or a local file.")
    ] = None,
    mode: Annotated[
        How | None,
        typer.Option(help="What is trained, with --from; auto, the default, decides and says why."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder that keeps a probe's features for other probes.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    runs: options.Runs = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch a named data set.")] = False,
) -> None:
    """Train a classifier; write a run directory with a report.

    With no options it picks the shipped recipe that fits the data, and says why. With --from it
    begins with pretrained weights: a linear probe, fine-tuning, or both.
    """
    from goodfit.cli.display import Display
    from goodfit.run.describe import describe
    from goodfit.run.start import prepare, start
    from goodfit.transfer import transfer

    changes = list(set_ or [])
    for key, value in {
        "train.epochs": epochs,
        "train.minutes": minutes,
        "train.batch_size": batch_size,
        "train.seed": seed,
    }.items():
        changes += [] if value is None else [f"{key}={value}"]
    with Display() as display:
        if not dry_run and (weights or mode or cache):
            run = transfer(
                data,
                weights,
                mode=mode.value if mode else "auto",
                recipe=recipe,
                changes=tuple(changes),
                cache=cache,
                device=device,
                name=name,
                runs=runs,
                download=download,
                show=display.show,
                say=display.say,
            )
            display.finished(run)
            return
        job = prepare(
            data,
            recipe,
            changes=tuple(changes),
            weights=weights,
            device=device,
            name=name,
            runs=runs,
            download=download,
            say=display.say,
            dry=dry_run,
        )
        if dry_run:
            print(describe(job))
            return
        run = start(job, show=display.show, say=display.say)
    display.finished(run)


def resume(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    device: options.Device = None,
) -> None:
    """Go on with an interrupted run, exactly where it stopped."""
    from goodfit.cli.display import Display
    from goodfit.run.start import resume as go_on

    with Display() as display:
        done = go_on(run, device=device, show=display.show, say=display.say)
    display.finished(done)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    data: Annotated[
        str | None, typer.Argument(help="Other data; the run's own test split by default.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="train, val or test.")] = None,
    views: Annotated[
        list[str] | None, typer.Option(help="Views whose average is taken, composed as a product.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, help="Random draws of the augmentation to average.")
    ] = 0,
    weights: Annotated[str, typer.Option(help="last or best.")] = "last",
    device: options.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Test a run, on other data with classes matched by name."""
    from goodfit.report.terminal import metrics_text
    from goodfit.run.load import Run

    found = Run(run).evaluate(
        data, split=split, views=tuple(views or ()), samples=samples, weights=weights, device=device
    )
    print(found.model_dump_json(indent=2) if as_json else metrics_text(found, split or ""))


def predict(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    form: Annotated[Table, typer.Option("--format", help="csv or json.")] = Table.csv,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 3,
    weights: Annotated[str, typer.Option(help="last or best.")] = "last",
    device: options.Device = None,
) -> None:
    """Name the likeliest classes of images, with probabilities.

    The probabilities are calibrated on the validation split. Files that cannot be read are
    listed with the reason on standard error.
    """
    import sys

    from goodfit.errors import DataError
    from goodfit.run.load import Run, written

    rows, skipped = Run(run).predict(images, top=top, weights=weights, device=device)
    if rows:
        sys.stdout.write(written(rows, form.value))
    for item in skipped:
        print(f"skipped {item.name}: {item.reason}", file=sys.stderr)
    if not rows:
        raise DataError(
            "none of these images can be read",
            seen=f"{len(skipped)} skipped",
            fix="give image files, or folders that have some",
        )
