"""Pictures and pages for people: what the schedule does, what the net sees, what a thing is."""

from pathlib import Path
from typing import Any

from goodfit.batch import Batch
from goodfit.check import explain as explain_rule
from goodfit.check import rule_names
from goodfit.data.loader import Loader
from goodfit.errors import RecipeError
from goodfit.ingredient import names, page
from goodfit.predict.views import VIEWS
from goodfit.recipe.read import load, read, shipped
from goodfit.recipe.recipe import BASES
from goodfit.report.contact_sheet import contact_sheet
from goodfit.report.svg import Series, line_chart, svg_file
from goodfit.run.directory import writing
from goodfit.run.start import NOT_TIMED, prepare


def schedule_picture(recipe: str, changes: tuple[str, ...], out: Path) -> str:
    """Write the schedule's curve as SVG; gives a text of its values at each tenth of the run."""
    schedule: Any = read(recipe, changes).schedule
    places = [i / 200 for i in range(201)]
    values = [schedule(done) for done in places]
    curve = Series(f"{schedule.name}: factor on lr", "a", list(zip(places, values, strict=True)))
    picture = svg_file(line_chart(schedule.name, [curve], x_label="part of the run"))
    with writing(out):
        out.write_text(picture, "utf-8")
    top = max(values)
    rows = [
        f"{done:4.0%}  {value:8.5f}  {'#' * round(50 * value / top)}"
        for done, value in list(zip(places, values, strict=True))[::20]
    ]
    return "\n".join([f"{schedule!r}", *rows, f"picture: {out}"])


def augment_picture(
    data: str, recipe: str | None, changes: tuple[str, ...], out: Path, images: int
) -> str:
    """Write a contact sheet of one batch under each augmentation and under all of them."""
    job = prepare(data, recipe, changes=changes + NOT_TIMED, device="cpu", dry=True)
    loader, seed = job.loader, job.recipe.train.seed
    seen = _first(loader, images)
    whole, decoded = seen, None
    if loader.boxes is not None:  # decoding makes the first change: show the photographs, too
        plain = Loader(
            job.splits.train,
            loader.batch_size,
            size=loader.size,
            channels=loader.channels,
            shuffle=True,
            seed=seed,
            hold_bytes=0,
        )
        whole, decoded = _first(plain, images), seen
    labels = [job.splits.train.classes[place] for place in seen.targets.argmax(1).tolist()]
    with writing(out):
        contact_sheet(whole, job.recipe.augment, out, names=labels, decoded=decoded, seed=seed)
    return f"picture: {out}"


def _first(loader: Loader, count: int) -> Batch:
    """The first images of the first epoch."""
    batch: Batch = next(iter(loader.at(0, 0)))
    return batch._replace(
        images=batch.images[:count], targets=batch.targets[:count], index=batch.index[:count]
    )


def page_of(name: str) -> str:
    """The page of an ingredient, a rule or a recipe, by its name."""
    pages = [
        f"{base.noun} `{name}`\n\n{page(base, name)}"
        for base in BASES.values()
        if name in names(base)
    ]
    if name in VIEWS:
        pages.append(f"view `{name}`\n\n{page('goodfit.predict.views')}")
    if name in rule_names():
        pages.append(f"rule `{name}`\n\n{explain_rule(name)}")
    if name in shipped():
        table, _, _ = load(name)
        pages.append(
            f"recipe `{name}`\n\n"
            + "\n".join(str(table.get(k, "")) for k in ("about", "source", "expected"))
        )
    if not pages:
        known = sorted(
            {n for base in BASES.values() for n in names(base)}.union(
                rule_names(), shipped(), VIEWS
            )
        )
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1)
        raise RecipeError(
            f"nothing is called {name!r}",
            known=", ".join(known),
            fix=f"write {close[0]!r}" if close else "choose one of these",
        )
    return "\n\n\n".join(pages)
