"""The command line: argument parsing only. Commands import what they need when they run."""

import os
import sys

import typer

from goodfit.cli import after, look, study, train
from goodfit.errors import GoodfitError

app = typer.Typer(
    name="goodfit",
    help="Train image classifiers by the book. Start with: goodfit train digits",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
for group in (train, look, study, after):
    group.add_to(app)


def main() -> None:
    """Run the command line. Exit code 2 and four clear lines for what the user can mend."""
    try:
        app()
    except GoodfitError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `goodfit runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
