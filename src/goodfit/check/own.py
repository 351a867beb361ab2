"""The user's own program: her function is found and called; its failures are one message."""

import importlib
import traceback
from typing import Any

from goodfit.errors import GoodfitError, RecipeError
from goodfit.ingredient import own_file


def made(place: str) -> Any:
    """What the function in `my_module.py:make` or `package.module:make` returns.

    Raises RecipeError if it is not there, cannot be imported or fails, with her line.
    """
    file, _, name = place.rpartition(":")
    file, name = (file, name) if file else (place, "make")
    try:
        module = own_file(file, None) if file.endswith(".py") else importlib.import_module(file)
        function = getattr(module, name, None)
        if callable(function):
            return function()
    except GoodfitError:
        raise
    except Exception as error:
        raise RecipeError(
            f"{place} does not run",
            at=line_of(error),
            seen=f"{type(error).__name__}: {error}",
            fix="mend that; only a program that can be made can be looked at",
        ) from error
    known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    raise RecipeError(
        f"{file} has no function {name}",
        known=", ".join(known) or "none",
        fix=f"write {file}:NAME with the name of a function that takes no arguments",
    )


def line_of(error: Exception) -> str:
    """Where in the code of others the error was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "" if last.filename == __file__ else f"{last.filename}, line {last.lineno}"
