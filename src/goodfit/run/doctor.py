"""The doctor on recipes, runs, data, or the user's own code."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from goodfit.check import Finding, Report, check_file, explain, rule_names
from goodfit.errors import GoodfitError, RecipeError
from goodfit.recipe.read import built, shipped, table_of, to_toml
from goodfit.recipe.recipe import LISTS
from goodfit.run.build import build
from goodfit.run.checked import check_pieces
from goodfit.run.directory import writing
from goodfit.run.job import Job
from goodfit.run.load import Run
from goodfit.run.start import NOT_TIMED, prepare


def rule_page(rule: str) -> str:
    """The page of a rule; RecipeError with the closest name if there is none."""
    if rule in rule_names():
        return explain(rule)
    close = get_close_matches(rule, rule_names(), n=1)
    raise RecipeError(
        f"no rule is called {rule!r}",
        known=", ".join(rule_names()),
        fix=f"write {close[0]!r}" if close else "choose one of these",
    )


def checked(
    what: str | None,
    data: str | None,
    *,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    form: str,
    out: Path | None,
    fix: bool,
    seed: int,
    device: str | None,
) -> tuple[str, bool]:
    """(what to print, whether there are no errors) of `goodfit check`."""
    if what is None:
        raise GoodfitError(
            "there is nothing to check", fix="name a recipe, a run, data, or file.py:make"
        )
    settings = {"select": select, "ignore": ignore, "seed": seed, "device": device}
    if is_code(what):
        report, job = check_file(what, **settings), None
    else:
        job = job_of(what, data, device)
        report = check_job(job, select=select, ignore=ignore, seed=seed)
    said = _printed(report, form, out)
    if fix:
        said += "\n\n" + _fixed(report, job, select, ignore, seed)
    return said, not report.errors


def is_code(what: str) -> bool:
    """Whether a word names a function of the user's: my_module.py:make, or a file that has one."""
    return what.endswith(".py") or (":" in what and not Path(what).exists())


def job_of(what: str, data: str | None, device: str | None) -> Job:
    """What a word means: a run, a shipped recipe or TOML file (with data), or data alone."""
    if (Path(what) / "recipe.toml").is_file():
        run = Run(what)
        return prepare(
            data if data is not None else run.recipe.data, run.recipe, device=device, dry=True
        )
    if what in shipped() or what.endswith(".toml"):
        known = data or ("digits" if what == "digits" else None)
        return prepare(known, what, changes=NOT_TIMED, device=device, dry=True)
    return prepare(what, None, changes=NOT_TIMED, device=device, dry=True)


def check_job(
    job: Job, *, select: tuple[str, ...] = (), ignore: tuple[str, ...] = (), seed: int = 0
) -> Report:
    """The doctor's report on a resolved recipe: its own net, loss, optimizer and augmented data."""
    pieces = build(job.recipe, job.loader, job.splits.train.classes, job.loader.channels, job.world)
    return check_pieces(job, pieces, select=select, ignore=ignore, seed=seed)


def _printed(report: Report, form: str, out: Path | None) -> str:
    if form == "json":
        return report.to_json()
    if form == "github":
        return report.to_github()
    if form == "html":
        place = out or Path("check.html")
        with writing(place):
            return f"report {report.to_html(place)}"
    return str(report)


def _fixed(
    report: Report, job: Job | None, select: tuple[str, ...], ignore: tuple[str, ...], seed: int
) -> str:
    """Patch the recipe as the findings say, check again, and say what is gone."""
    if job is None:
        return "--fix needs a recipe; code of one's own is mended by hand"
    patched = [f for f in report.findings if f.patch]
    if not patched:
        return "no finding can be mended in the recipe alone"
    table = table_of(job.recipe)
    for finding in patched:
        _apply(table, finding)
    recipe = built(table, "the patched recipe")
    place = Path("fixed.toml")
    with writing(place):
        place.write_text(to_toml(recipe), "utf-8")
    again = check_job(job._replace(recipe=recipe), select=select, ignore=ignore, seed=seed)
    left = {(f.rule, f.where) for f in again.findings}
    lines = [
        f"{f.rule} at {f.where}: {'still there' if (f.rule, f.where) in left else 'gone'} "
        f"after {json.dumps(f.patch)}"
        for f in patched
    ]
    return "\n".join([f"patched recipe: {place}", *lines])


def _apply(table: dict[str, Any], finding: Finding) -> None:
    for field, value in finding.patch.items():
        section, _, name = field.partition(".")
        if section in LISTS:
            kind, _, name = name.partition(".")
            table[section] = [
                item | {name: value} if item.get("kind") == kind else item
                for item in table.get(section, [])
            ]
        else:
            table.setdefault(section, {})[name] = value
