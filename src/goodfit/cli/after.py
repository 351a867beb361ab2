"""ensemble, export, card: what is done with finished runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from goodfit.cli import options


class Together(StrEnum):
    """How members become one."""

    probabilities = "probabilities"
    logits = "logits"
    uniform_soup = "uniform-soup"
    greedy_soup = "greedy-soup"


class Written(StrEnum):
    """Formats of exported files."""

    onnx = "onnx"
    torch_export = "torch-export"
    safetensors = "safetensors"


class Pixels(StrEnum):
    """What an exported graph takes."""

    uint8 = "uint8"
    float = "float"


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(epilog="Example: goodfit ensemble runs/photos-1 runs/photos-2 --name photos-all")(
        ensemble
    )
    app.command(epilog="Example: goodfit export runs/photos --format onnx --out photos.onnx")(
        export
    )
    app.command(epilog="Example: goodfit card runs/photos")(card)


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Runs of the same data and split.")],
    members: Annotated[
        str, typer.Option(help="Weights of each run: last, best, snapshots; commas between.")
    ] = "last",
    how: Annotated[
        Together, typer.Option(help="What is averaged; soups average the weights.")
    ] = Together.probabilities,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Decide and test on other data.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the ensemble.")] = None,
    folder: options.Runs = Path("runs"),
    device: options.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Put several runs or checkpoints together.

    The result is used like a run. Reports members, ensemble, diversity, calibration and cost.
    Validation decides, and the test split is used once.
    """
    from goodfit.ensemble import ensemble as made
    from goodfit.ensemble.record import ensemble_text

    run, report = made(
        runs,
        members=tuple(word.strip() for word in members.split(",") if word.strip()),
        how=how.value,
        data=data,
        name=name,
        folder=folder,
        device=device,
        say=lambda line: typer.echo(line, err=True),
    )
    print(report.model_dump_json(indent=2) if as_json else ensemble_text(report))
    typer.echo(f"written to {run.path}", err=True)


def export(
    run: Annotated[Path, typer.Argument(help="A run directory, or an ensemble.")],
    form: Annotated[Written, typer.Option("--format", help="Of the file.")] = Written.onnx,
    out: Annotated[Path | None, typer.Option(help="The file; RUN/export/NAME by default.")] = None,
    pixels: Annotated[
        Pixels, typer.Option(help="What the graph takes: uint8 in 0..255, or float in 0..1.")
    ] = Pixels.uint8,
    weights: Annotated[str, typer.Option(help="last or best.")] = "last",
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Check with these images instead.")
    ] = None,
) -> None:
    """Write a run as one file, with its preprocessing inside.

    The file is checked on real images, and a model card is written beside it.
    """
    from goodfit.export import export as made

    done = made(run, form.value, out=out, pixels=pixels.value, weights=weights, data=data)
    print(
        f"{done.path}: on {done.images} real images probabilities differ from the run's by at most "
        f"{done.probability_difference:.2g}, logits by {done.logit_difference:.2g}"
    )
    print(f"card {done.card}")


def card(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    out: Annotated[Path | None, typer.Option(help="The file; RUN/card.md by default.")] = None,
) -> None:
    """Write a model card.

    Data, recipe, results with intervals, classes, limits and use.
    """
    from goodfit.export import write_card
    from goodfit.run.load import Run

    print(write_card(Run(run), out))
