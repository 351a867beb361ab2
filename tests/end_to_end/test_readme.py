"""What the README and the guides show works: their Python runs, their recipes are read."""

import re
from pathlib import Path

import pytest
import torch

from goodfit.recipe.read import read

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs/tutorial.md"
CASE = ROOT / "docs/case-a-net-that-does-not-learn.md"
OWN_DATA, OWN_LOOP, OWN_MODEL, OWN_INGREDIENT, AUDIT = (
    ROOT / "docs/how-to" / f"{name}.md"
    for name in ("own-data", "own-loop", "own-model", "own-ingredient", "audit")
)
GUIDES = [OWN_DATA, OWN_LOOP, OWN_MODEL, OWN_INGREDIENT]


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page in one language, block by block."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def named(page: Path, start: str, language: str = "python") -> str:
    """The one block that begins so."""
    [code] = [block for block in blocks(page, language) if block.startswith(start)]
    return code


def executed(code: str) -> dict[str, object]:
    scope: dict[str, object] = {"__name__": "shown"}
    exec(compile(code, "shown", "exec"), scope)
    return scope


def test_the_pieces_of_the_readme_work_in_both_loops(capsys):
    torch.manual_seed(0)
    code = next(block for block in blocks(README, "python") if "# 1. our loop" in block)
    shown = executed(code)
    probabilities, labels = shown["probabilities"], shown["splits"].test.labels
    assert probabilities.shape == (len(labels), 10)
    assert (probabilities.argmax(1).numpy() == labels).mean() > 0.85
    assert capsys.readouterr().out.startswith("  25  loss ")


def test_the_recipe_of_the_readme_is_one(tmp_path):
    (tmp_path / "recipe.toml").write_text(named(README, "# recipe.toml", "toml"), "utf-8")
    recipe = read(tmp_path / "recipe.toml", ("optimizer.lr=0.01",))
    assert (recipe.optimizer.lr, recipe.augment[1].name) == (0.01, "cutout")


def test_the_sick_program_of_the_readme_has_what_it_shows():
    from goodfit.check import check

    pieces = executed(named(README, "# sick.py"))["make"]()
    rules = ("output-activation", "input-scale")
    report = check(**pieces, select=rules)
    assert [(f.rule, f.severity) for f in report.findings] == [
        ("output-activation", "error"),
        ("input-scale", "advice"),
    ]
    shown = README.read_text("utf-8")
    assert all(str(finding) in shown for finding in report.findings)


def test_every_command_of_the_readme_exists():
    from typer.main import get_command

    from goodfit.cli import app

    known = set(get_command(app).commands)
    shown = set(re.findall(r"`goodfit (\w+)", README.read_text("utf-8")))
    assert shown <= known
    assert known <= shown, "the table of commands lacks one"


def test_the_haze_of_the_tutorial_trains_nothing_but_white(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("haze.py").write_text(named(TUTORIAL, '"""Fade images'), "utf-8")
    Path("hazy.toml").write_text(named(TUTORIAL, "# hazy.toml", "toml"), "utf-8")
    from goodfit.batch import Batch
    from goodfit.rand import Rng

    haze = read("hazy.toml").augment[-1]
    batch = Batch(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.eye(4), torch.arange(4))
    images = haze(batch, Rng(0, haze.name, batch)).images
    assert 0 < images.max() <= 0.4
    assert (images == images[:, :, :1, :1]).all()


def test_the_net_of_the_case_has_the_fault_that_is_shown():
    from goodfit.check import check

    code = named(CASE, "import torch")
    [fixed] = [block for block in blocks(CASE, "python") if block.startswith(" ")]
    sick, *_ = (executed(code)["make"]() for _ in "a")
    report = check(**sick, select=("signal-vanishing",))
    assert [(f.rule, f.where) for f in report.findings] == [("signal-vanishing", "1")]
    before = "            nn.init.normal_(module.weight, std=0.01)\n"
    assert before in code
    healthy = executed(code.replace(before, fixed))["make"]()
    assert not check(**healthy, select=("signal-vanishing",)).findings


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_the_guide_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "python"):
        name = re.match(r"# (\w+\.py)$", code, re.M)
        if name:
            Path(name[1]).write_text(code, "utf-8")
    for code in blocks(page, "toml"):
        (tmp_path / "recipe.toml").write_text(code, "utf-8")
        assert read(tmp_path / "recipe.toml")
    executed("\n".join(blocks(page, "python")))


def test_the_dropout_of_the_audit_guide_is_wrong():
    from goodfit.audit import audit

    net, images = executed(named(AUDIT, "# dropped.py"))["make"]()
    assert not audit(net, images).ok
