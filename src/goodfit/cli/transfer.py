"""transfer: from weights trained on other images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from goodfit.cli import options


class How(StrEnum):
    """What of the net is trained."""

    auto = "auto"
    probe = "probe"
    two_phase = "two-phase"
    gradual = "gradual"
    fine_tune = "fine-tune"


def add_to(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog="Example: goodfit transfer photos/ --from resnet50 --mode probe")(transfer)


def transfer(
    data: Annotated[
        str, typer.Argument(help="A folder by class, a CSV file, an .npz file, or a set's name.")
    ],
    weights: Annotated[
        str | None, typer.Option("--from", help="Pretrained weights: a timm name or a local file.")
    ] = None,
    mode: Annotated[How, typer.Option(help="What is trained; auto says why.")] = How.auto,
    recipe: options.Recipe = None,
    set_: options.Set = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs of fine-tuning.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="A folder that keeps features for other probes.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    runs: options.Runs = Path("runs"),
    download: Annotated[bool, typer.Option("--download", help="Fetch a named data set.")] = False,
) -> None:
    """Begin with weights trained on other images: a linear probe, fine-tuning, or both.

    Without --mode it tries the probe, which takes seconds, and decides by the number of images
    and by how well the frozen features suit them.
    """
    from goodfit.cli.display import Display
    from goodfit.transfer import transfer as made

    changes = list(set_ or [])
    for key, value in {"train.epochs": epochs, "train.seed": seed}.items():
        changes += [] if value is None else [f"{key}={value}"]
    with Display() as display:
        run = made(
            data,
            weights,
            mode=mode.value,
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
