"""The command line's own words: four parts for what was mistyped, an example in every help."""

import re
import sys

import pytest
from typer.main import get_command

from goodfit.cli import app, main


def commands() -> dict[str, object]:
    """Every command and subcommand, by the words that call it."""
    found = {}
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {k}": v for k, v in inner.items()} if inner else {name: command}
    return found


@pytest.fixture
def called(tmp_path, monkeypatch, capsys):
    """Runs `goodfit ...`: (exit code, what it printed, what it complained)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["goodfit", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return call


MISTYPED = {
    "a command": (("trian", "digits"), "at      goodfit\n  fix     write 'train'"),
    "a subcommand": (("recipe", "shw"), "at      goodfit recipe\n  fix     write 'show'"),
    "an option": (("train", "digits", "--epoch", "3"), "fix     write --epochs"),
    "a number": (("train", "digits", "--epochs", "many"), "invalid value for '--epochs'\n"),
    "a choice": (("predict", "r", "i", "--format", "xml"), "wanted  'xml' is not one of"),
    "a range": (("predict", "r", "i", "--top", "0"), "invalid value for '--top'\n"),
    "too much": (("runs", "here", "there"), "fix     `goodfit runs --help` shows what it takes"),
    "too little": (("evaluate",), "fix     `goodfit evaluate --help` shows what it takes"),
}


@pytest.mark.parametrize("case", MISTYPED)
def test_what_is_mistyped_is_answered_in_four_parts(case, called):
    words, says = MISTYPED[case]
    code, out, err = called(*words)
    assert (code, out) == (2, "")
    assert err.startswith("CommandError: ")
    assert says in err


@pytest.mark.parametrize("words", [(), ("recipe",), ("show",)])
def test_a_command_without_words_shows_its_help(words, called):
    _, out, err = called(*words)
    assert "Commands:" in out + err


@pytest.mark.parametrize("name", commands())
def test_every_help_has_an_example_that_calls_it(name):
    assert re.match(rf"Example: goodfit {name}\b", commands()[name].epilog or "")


@pytest.mark.parametrize("name", [n for n in commands() if " " not in n])
def test_the_list_of_commands_says_each_in_a_whole_sentence(name):
    said = (commands()[name].help or "").split("\n\n")[0]
    assert said.endswith(".")
    assert len(said) <= 66, "longer ones are cut off on a terminal of 80 columns"


def test_predicting_nothing_but_broken_files_is_an_error(called, tmp_path, monkeypatch):
    from goodfit.data import Skipped
    from goodfit.run import load

    class Unreadable:
        def __init__(self, path: object) -> None: ...

        def predict(self, images: list[object], **_: object) -> tuple[list[object], list[Skipped]]:
            return [], [Skipped(str(images[0]), "the file is empty")]

    monkeypatch.setattr(load, "Run", Unreadable)
    code, out, err = called("predict", "run", "zero.jpg")
    assert (code, out) == (2, "")
    assert "skipped zero.jpg: the file is empty\n" in err
    assert "DataError: none of these images can be read" in err
    assert "  fix " in err
