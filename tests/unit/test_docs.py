"""The docs say what the code does: generated pages are up to date, links lead somewhere."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN_ME = "run `python docs/make_reference.py`"


@pytest.fixture(scope="module")
def make_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(make_reference) -> dict[Path, str]:
    return make_reference.pages()


def test_the_reference_is_what_the_docstrings_say(pages):
    stale = [
        str(path)
        for path, text in pages.items()
        if not (ROOT / "docs" / path).exists() or (ROOT / "docs" / path).read_text("utf-8") != text
    ]
    assert not stale, f"{', '.join(stale)}: {RUN_ME}"


def test_no_page_of_the_reference_is_left_over(pages):
    made = {ROOT / "docs" / path for path in pages}
    assert set((ROOT / "docs/reference").iterdir()) <= made


def test_topics_are_read_up_to_the_end_of_the_sentence(make_reference):
    doc = "X.\n\nLecture: Optimization, AdamW; Regularization,\nweight decay. The slide errs."
    assert make_reference.topics(doc) == ["Optimization, AdamW", "Regularization, weight decay"]


def test_constraints_are_put_in_words(make_reference):
    annotation = ast.parse("x: Annotated[float, Field(ge=0, lt=1)]").body[0].annotation
    assert make_reference.worded(annotation) == "float, >= 0, < 1"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings(place), f"{page.name} links to {target}"


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def headings(page: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
