"""Commands are added here by their owners."""

import typer


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
