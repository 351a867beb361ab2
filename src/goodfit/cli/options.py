"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[
    str | None, typer.Option("--recipe", "-r", help="A shipped recipe's name or a TOML file.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field: --set optimizer.lr=0.1"),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the best there is by default.")
]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.")]
