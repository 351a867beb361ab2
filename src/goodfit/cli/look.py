"""recipe, explain, runs, show, audit, check: commands that look and change nothing."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from goodfit.cli import options

recipe = typer.Typer(no_args_is_help=True, help="List, show and compare recipes.")
show = typer.Typer(no_args_is_help=True, help="Draw schedules and augmented images.")


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    html = "html"
    github = "github"


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.add_typer(recipe, name="recipe")
    app.add_typer(show, name="show")
    app.command(epilog="Example: goodfit explain cutout")(explain)
    app.command(epilog="Example: goodfit runs")(runs)
    app.command(epilog="Example: goodfit audit runs/photos")(audit)
    app.command(epilog="Example: goodfit check my_module.py:make --ignore class-imbalance")(check)


@recipe.command("list", epilog="Example: goodfit recipe list")
def list_recipes() -> None:
    """The recipes that come with goodfit."""
    from goodfit.recipe.read import read, shipped

    for name in shipped():
        print(f"{name:<18}{read(name).about}")


@recipe.command("show", epilog="Example: goodfit recipe show small-fast")
def show_recipe(
    name: Annotated[str, typer.Argument(help="A recipe.")], set_: options.Set = None
) -> None:
    """A recipe with every default spelled out."""
    from goodfit.recipe.read import read, to_toml

    print(to_toml(read(name, tuple(set_ or ()))), end="")


@recipe.command("diff", epilog="Example: goodfit recipe diff small-fast mine.toml")
def diff_recipes(
    first: Annotated[str, typer.Argument(help="A recipe.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
) -> None:
    """The fields in which two recipes differ."""
    from goodfit.recipe.read import differences, read

    for field, a, b in differences(read(first), read(second)):
        print(f"{field}\n  {first}: {a}\n  {second}: {b}")


@recipe.command("schema", epilog="Example: goodfit recipe schema > recipe.schema.json")
def schema() -> None:
    """The JSON schema of recipes, for editors."""
    import json

    from goodfit.recipe.schema import schema as made

    print(json.dumps(made(), indent=2))


@show.command("schedule", epilog="Example: goodfit show schedule --recipe small-fast")
def show_schedule(
    recipe: options.Recipe = None,
    set_: options.Set = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("schedule.svg"),
) -> None:
    """Draw the learning rate over the run as an SVG picture, and as text."""
    from goodfit.run.show import schedule_picture

    print(schedule_picture(recipe or "digits", tuple(set_ or ()), out))


@show.command("augment", epilog="Example: goodfit show augment photos/ --recipe photos-scratch")
def show_augment(
    data: Annotated[str, typer.Argument(help="Data, as for train.")],
    recipe: options.Recipe = None,
    set_: options.Set = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("augment.png"),
    images: Annotated[int, typer.Option(min=1, max=32, help="How many images.")] = 8,
) -> None:
    """Write a contact sheet: the same images under each augmentation and under all of them."""
    from goodfit.run.show import augment_picture

    print(augment_picture(data, recipe, tuple(set_ or ()), out, images))


def explain(
    name: Annotated[str, typer.Argument(help="An ingredient, a rule or a recipe.")],
) -> None:
    """Print the page of an ingredient, a rule or a recipe.

    What it is, what testing does about it, when not to use it, and its source.
    """
    from goodfit.run.show import page_of

    print(page_of(name))


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
) -> None:
    """A table of runs, best first."""
    from goodfit.cli.display import runs_table
    from goodfit.run.load import all_runs

    print(runs_table(all_runs(folder)))


def audit(
    what: Annotated[str, typer.Argument(help="A run, a recipe, or my_module.py:make.")],
    data: Annotated[str | None, typer.Argument(help="Data, when it is a recipe.")] = None,
    draws: Annotated[int, typer.Option(min=2, help="Training draws to average.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Test whether evaluation is the average of training.

    Every random part of the net and of the augmentation, one by one, with intervals.
    """
    from goodfit.run.audited import audited

    found = audited(what, data, draws=draws, seed=seed)
    print(found)
    if not found.ok:
        raise typer.Exit(1)


def check(
    what: Annotated[
        str | None, typer.Argument(help="A recipe, a run, data, or my_module.py:make.")
    ] = None,
    data: Annotated[str | None, typer.Argument(help="Data, when it is a recipe.")] = None,
    select: Annotated[list[str] | None, typer.Option(help="Only these rules.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Not these rules.")] = None,
    explain: Annotated[str | None, typer.Option(help="Explain a rule and stop.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.text,
    out: Annotated[Path | None, typer.Option(help="File for the report, with html.")] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a patched recipe and check it again.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
    device: options.Device = None,
) -> None:
    """Find out why a net does not learn, and what to change.

    Names the fault, the place, the evidence and the fix. Exit code 1 where there are errors.
    """
    from goodfit.run import doctor

    if explain is not None:
        print(doctor.rule_page(explain))
        return
    text, ok = doctor.checked(
        what,
        data,
        select=tuple(select or ()),
        ignore=tuple(ignore or ()),
        form=form.value,
        out=out,
        fix=fix,
        seed=seed,
        device=device,
    )
    print(text)
    if not ok:
        raise typer.Exit(1)
