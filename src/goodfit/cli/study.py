"""compare and tune: many trainings, one answer."""

from pathlib import Path
from typing import Annotated

import typer

from goodfit.cli import options


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog="Example: goodfit compare small-fast --data cifar10/ --without pad-and-crop"
    )(compare)
    app.command(epilog="Example: goodfit tune digits --budget 10m")(tune)


def compare(
    recipes: Annotated[
        list[str], typer.Argument(help="The base recipe, and others to compare with it.")
    ],
    data: Annotated[str, typer.Option("--data", "-d", help="Data, as for train.")],
    without: Annotated[list[str] | None, typer.Option(help="Leave an ingredient out.")] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="Add an ingredient.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="A field with values: optimizer.lr=0.1,0.2"),
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option("--base", help="Change a field of the base and of all arms.")
    ] = None,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Leave out each ingredient in turn.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of each arm.")] = 5,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Stop an arm once it is decided.")
    ] = False,
    delta: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Differences below this do not matter.")
    ] = 0.005,
    split: Annotated[str, typer.Option(help="val, or test for a final report.")] = "val",
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="Where the study is kept.")] = None,
    device: options.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which ingredient earns its keep, with a verdict.

    Trials are paired by seed; every difference has an interval and a price.
    """
    from goodfit.compare.compare import compared
    from goodfit.report.terminal import comparison_text

    report = compared(
        recipes,
        data,
        without=tuple(without or ()),
        with_=tuple(with_ or ()),
        changes=tuple(set_ or ()),
        base_changes=tuple(base or ()),
        leave_one_out=leave_one_out,
        seeds=seeds,
        until_decided=until_decided,
        delta=delta,
        split=split,
        workers=workers,
        folder=folder,
        device=device,
        say=lambda line: typer.echo(line, err=True),
    )
    print(report.model_dump_json(indent=2) if as_json else comparison_text(report))


def tune(
    data: Annotated[str, typer.Argument(help="Data, as for train.")],
    recipe: options.Recipe = None,
    budget: Annotated[str | None, typer.Option(help="Time for everything: 2h, 90m, 1h30m.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Or trials, before the final run; 30 by default.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.1, help="Or epochs of all trials together.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(help="A TOML file: fields of the recipe and their ranges.")
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this step: initial-loss, overfit, rate, coarse, refine, curves or final."
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="tpe, random or grid.")] = "tpe",
    pruner: Annotated[
        str, typer.Option(help="Which trials end early: asha, hyperband, median or none.")
    ] = "asha",
    storage: Annotated[
        str, typer.Option(help="A journal file, or the URL of a database such as PostgreSQL.")
    ] = "",
    on: Annotated[str, typer.Option(help="process, or ray for a Ray cluster.")] = "process",
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Where the study is kept; the same one goes on with it.")
    ] = None,
    set_: options.Set = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    device: options.Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find hyperparameters in seven steps, and say in words why.

    They are those of Johnson's lecture; the last one trains the tuned recipe.
    """
    from goodfit.tune.budget import budget_of
    from goodfit.tune.tune import tuned

    report = tuned(
        data,
        recipe,
        budget=budget_of(budget, trials, epochs),
        space=space,
        steps=tuple(step or ()),
        changes=tuple(set_ or ()),
        sampler=sampler,
        pruner=pruner,
        storage=storage,
        on=on,
        workers=workers,
        folder=folder,
        seed=seed,
        device=device,
        say=lambda line: typer.echo(line, err=True),
    )
    if as_json:
        print(report.model_dump_json(indent=2))
        return
    for found in report.steps:
        print(f"{found.number}. {found.name}: {found.found} {found.onward}".rstrip())
    print(f"the tuned recipe is tuned.toml in {report.cost['folder']}; tune.html shows the search")
