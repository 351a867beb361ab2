"""The command line: argument parsing only. Commands import what they need when they run."""

import os
import re
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
_GUESSED = re.compile(r"(.*?)\.? \(?(?:Did you mean|Possible options?:) ([^?)]*)[?)]*")
_USAGE: type[Exception] = typer.BadParameter.__mro__[1]  # of all complaints about words typed
for group in (train, look, study, after):
    group.add_to(app)


class CommandError(GoodfitError):
    """The command line cannot be understood."""


def main() -> None:
    """Run the command line. Exit code 2 and four clear lines for what the user can mend."""
    code: object = 0
    try:
        code = app(standalone_mode=False)
    except GoodfitError as error:
        print(error, file=sys.stderr)
        code = 2
    except _USAGE as error:
        print(_explained(error), file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:  # `goodfit runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code == 130:
        print("stopped", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _explained(error: Exception) -> str:
    """Typer's complaint in our four parts; the help of a command that was given nothing."""
    said = str(getattr(error, "format_message", lambda: error)())
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "goodfit"
    if said.lstrip().startswith("Usage:"):
        return said
    guessed = _GUESSED.fullmatch(said)
    said, meant = guessed.groups() if guessed else (said, "")
    problem, _, wanted = said.partition("': ")  # invalid value for '--epochs': what it must be
    if wanted:
        problem, wanted = problem + "'", wanted.removeprefix("Value error, ")
    return str(
        CommandError(
            problem[:1].lower() + problem[1:].rstrip("."),
            at=path,
            **({"wanted": wanted[:1].lower() + wanted[1:]} if wanted else {}),
            fix=f"write {meant.replace(', ', ' or ')}"
            if meant
            else f"`{path} --help` shows what it takes",
        )
    )
