"""Writes docs/reference/*.md and the table in docs/lecture-map.md from the modules' docstrings.

python docs/make_reference.py

A docstring is written once, in its module, and is the page of what the module holds; nothing in
docs/reference is edited by hand. `pages()` gives all files as text, so a test can compare.
"""

import ast
import inspect
import re
from pathlib import Path

import goodfit
from goodfit.check.rules import Rule
from goodfit.ingredient import Ingredient, find, names, page
from goodfit.recipe.recipe import BASES

DOCS = Path(__file__).parent
SOURCE = Path(goodfit.__file__).parent
BEGIN, END = "<!-- written by make_reference.py: begin -->", "<!-- end -->"
SHELVES: dict[str, type[Ingredient]] = {**BASES, "rules": Rule}
TITLES = {
    "data": "Data",
    "preprocess": "Preprocessing",
    "model": "Models",
    "layers": "Layers that are put into a model",
    "init": "Initialization",
    "augment": "Augmentation",
    "loss": "Losses",
    "penalties": "Penalties",
    "optimizer": "Optimizers",
    "schedule": "Learning rate schedules",
    "rules": "Rules of the doctor",
}
CHAPTERS = (  # in the order of the lecture; others come last
    "Activation functions",
    "Data preprocessing",
    "Weight initialization",
    "Regularization",
    "Data augmentation",
    "Optimization",
    "Learning rate schedules",
    "Choosing hyperparameters",
    "Model ensembles",
    "Large batches",
)


def pages() -> dict[Path, str]:
    """All generated files, by their paths below docs/."""
    made = {Path("reference") / f"{shelf}.md": shelf_page(shelf) for shelf in SHELVES}
    made[Path("reference/index.md")] = index()
    written = (DOCS / "lecture-map.md").read_text("utf-8")
    before, _, rest = written.partition(BEGIN)
    made[Path("lecture-map.md")] = f"{before}{BEGIN}\n\n{lecture()}\n{END}{rest.partition(END)[2]}"
    return made


def index() -> str:
    """The list of all ingredients and rules, each with its first sentence."""
    parts = [
        "# Reference\n\nEvery ingredient and rule, from the docstring of its module; "
        "`goodfit explain NAME` prints the same page. Written by `python docs/make_reference.py`."
    ]
    for shelf, base in SHELVES.items():
        rows = [
            f"| [`{kind}`]({shelf}.md#{kind}) | {cell(first_sentence(page(base, kind)))} |"
            for kind in names(base)
        ]
        parts.append(f"## [{TITLES[shelf]}]({shelf}.md)\n\n| name | what it is |\n|-|-|")
        parts[-1] += "\n" + "\n".join(rows)
    return "\n\n".join(parts) + "\n"


def shelf_page(shelf: str) -> str:
    """One shelf: the page and the settings of everything on it."""
    base = SHELVES[shelf]
    where = "[[{}]]" if shelf in ("layers", "init", "augment", "penalties") else "[{}]"
    how = "" if base is Rule else f" In a recipe: `{where.format(shelf)}` with `kind = NAME`."
    head = f"# {TITLES[shelf]}\n\nWritten by `python docs/make_reference.py`.{how}"
    return "\n\n".join([head, *(entry(base, kind) for kind in names(base))]) + "\n"


def entry(base: type[Ingredient], kind: str) -> str:
    """The page of one ingredient or rule."""
    cls = find(base, kind)
    parts = [f"## {kind}", markdown(page(base, kind))]
    table = settings(cls)
    if table:
        parts.append(table)
    file = Path(inspect.getfile(cls)).relative_to(SOURCE)
    parts.append(f"In `goodfit/{file.as_posix()}`: `{cls.__name__}`.")
    return "\n\n".join(parts)


def markdown(text: str) -> str:
    """A docstring as Markdown: headings two levels down, doctests fenced."""
    text = re.sub(r"^## (.*)$", r"**\1.**\n", text, flags=re.MULTILINE)
    return re.sub(
        r"(?m)^(>>> .*(?:\n(?!\n).+)*)", lambda found: f"```python\n{found[1]}\n```", text
    )


def settings(cls: type[Ingredient]) -> str:
    """A table of the fields: name, type, default, and the comment beside it in the source."""
    said = declared(cls)
    rows = []
    for name, field in cls.model_fields.items():
        kind, comment = said.get(name, ("", ""))
        default = (
            "needed"
            if field.is_required()
            else f"`{field.get_default(call_default_factory=True)!r}`"
        )
        rows.append(f"| `{name}` | {cell(kind)} | {cell(default)} | {cell(comment)} |")
    if not rows:
        return ""
    return "\n".join(["| setting | type | default | |", "|-|-|-|-|", *rows])


def declared(cls: type[Ingredient]) -> dict[str, tuple[str, str]]:
    """(type, comment) of every field, as written in the class or the base that declares it."""
    found: dict[str, tuple[str, str]] = {}
    for owner in cls.__mro__:
        if not owner.__module__.startswith("goodfit.") or owner is Ingredient:
            continue
        lines = inspect.getsource(owner).splitlines()
        [body] = ast.parse(inspect.cleandoc("\n" + "\n".join(lines))).body
        assert isinstance(body, ast.ClassDef)
        for item in body.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                line = lines[(item.end_lineno or item.lineno) - 1]
                comment = line.partition("  # ")[2]
                comment = "" if comment.startswith("type: ignore") else comment
                found.setdefault(item.target.id, (worded(item.annotation), comment))
    return found


def worded(annotation: ast.expr) -> str:
    """`Annotated[float, Field(ge=0, lt=1)]` as `float, >= 0, < 1`."""
    if not (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.value, ast.Name)
        and annotation.value.id == "Annotated"
        and isinstance(annotation.slice, ast.Tuple)
    ):
        return ast.unparse(annotation)
    kind, *limits = annotation.slice.elts
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    words = [
        f"{signs[word.arg]} {ast.unparse(word.value)}"
        for limit in limits
        if isinstance(limit, ast.Call)
        for word in limit.keywords
        if word.arg in signs
    ]
    return ", ".join([worded(kind), *words])


def lecture() -> str:
    """Topic of the lecture → files, from the `Lecture:` lines of all modules."""
    chapters: dict[str, dict[str, list[str]]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        for topic in topics(doc):
            chapter, _, rest = topic.partition(",")
            chapter = chapter.strip()[:1].upper() + chapter.strip()[1:].lower().replace(
                "cnn", "CNN"
            )
            chapter = chapter.replace("Cnn", "CNN")
            rest = rest.strip() or "general"
            known = chapters.setdefault(chapter, {})
            same = next((name for name in known if name.lower() == rest.lower()), rest)
            known.setdefault(same, []).append(file.relative_to(SOURCE).as_posix())
    order = {name: place for place, name in enumerate(CHAPTERS)}
    parts = []
    for chapter in sorted(chapters, key=lambda name: (order.get(name, len(order)), name)):
        rows = [
            f"| {cell(topic)} | {', '.join(f'`{file}`' for file in files)} |"
            for topic, files in sorted(chapters[chapter].items(), key=lambda item: item[0].lower())
        ]
        parts.append(f"### {chapter}\n\n| topic | files |\n|-|-|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def topics(doc: str) -> list[str]:
    """The topics that a docstring names behind `Lecture:`, up to the end of the sentence."""
    found = re.search(r"Lecture: ((?:[^\n]|\n(?!\n))*)", doc)
    if found is None or doc[: found.start()].endswith('"'):
        return []
    text = " ".join(found[1].split())
    text = re.split(r"\.(?: |$)", text)[0]
    quoted = text.count('"') > 0
    return [text] if quoted else [part.strip() for part in text.split(";") if part.strip()]


def first_sentence(text: str) -> str:
    """The first paragraph's first sentence."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.]) ", paragraph)[0]


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write all pages."""
    for path, text in pages().items():
        place = DOCS / path
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
