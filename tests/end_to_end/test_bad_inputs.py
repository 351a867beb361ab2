"""Bad input gets one clear message in four parts and exit code 2: no traceback, nothing left over.

Most cases run the command line's own `main` in this process, since a process each would take
minutes; a few go through a real one.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodfit.cli import main

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(tmp_path: Path, monkeypatch, capsys) -> Called:
    """Runs `goodfit ...` in a new folder: (exit code, what it printed, what it complained)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["goodfit", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def refused(called: Called, folder: Path, *words: object, says: str = "") -> None:
    before = sorted(folder.rglob("*"))
    code, out, err = called(*words)
    assert code == 2, (out, err)
    assert "Traceback" not in err
    assert "  fix " in err, err
    assert says in err, err
    assert sorted(folder.rglob("*")) == before, "something was left over"


# Recipes: (what is written, what the message must name)
RECIPES = {
    "not toml": ("[model\n", "not TOML"),
    "unquoted": ("[model]\nkind = resnet\n", "not TOML"),
    "unknown section": ("[modle]\nkind = 'cnn'\n", "write `model`"),
    "unknown kind": ("[model]\nkind = 'resnett'\n", "write 'resnet'"),
    "no kind": ("[model]\ndepth = 18\n[[augment]]\nprob = 0.5\n", "no kind"),
    "kind is a number": ("[model]\nkind = 3\n", "no kind"),
    "table instead of list": ("[augment]\nkind = 'flip'\n", "[[augment]]"),
    "list instead of table": ("[[optimizer]]\nkind = 'sgd'\n", "optimizer"),
    "string instead of table": ("optimizer = 'sgd'\n", "optimizer"),
    "unknown setting": ("[[augment]]\nkind = 'cutout'\nsiez = 0.5\n", "write `size`"),
    "private kind": ("[model]\nkind = '_stem'\n", "_stem"),
    "path as kind": ("[model]\nkind = '../cnn'\n", "../cnn"),
    "own file missing": ("[model]\nkind = 'mine.py:Net'\n", "mine.py"),
    "own module missing": ("[model]\nkind = 'no_such_module:Net'\n", "no_such_module"),
    "extends nothing": ("extends = 'no-such-recipe'\n", "no-such-recipe"),
    "extends a number": ("extends = 3\n", "extends"),
    "prob above 1": ("[[augment]]\nkind = 'flip'\nprob = 1.2\n", "prob"),
    "prob below 0": ("[[augment]]\nkind = 'flip'\nprob = -0.1\n", "prob"),
    "prob nan": ("[[augment]]\nkind = 'flip'\nprob = nan\n", "prob"),
    "prob a word": ("[[augment]]\nkind = 'flip'\nprob = 'often'\n", "prob"),
    "area upside down": ("[[augment]]\nkind = 'random-crop'\narea = [1.0, 0.1]\n", "upside down"),
    "area of one": ("[[augment]]\nkind = 'random-crop'\narea = [0.1]\n", "area"),
    "cutout size": ("[[augment]]\nkind = 'cutout'\nsize = 16\n", "size"),
    "mixup alpha": ("[[augment]]\nkind = 'mixup'\nalpha = -1\n", "alpha"),
    "mixup alpha inf": ("[[augment]]\nkind = 'mixup'\nalpha = inf\n", "alpha"),
    "cutmix alpha": ("[[augment]]\nkind = 'cutmix'\nalpha = 0\n", "alpha"),
    "negative padding": ("[[augment]]\nkind = 'pad-and-crop'\npad_pixels = -1\n", "pad_pixels"),
    "lr negative": ("[optimizer]\nkind = 'sgd'\nlr = -0.1\n", "lr"),
    "lr zero": ("[optimizer]\nkind = 'sgd'\nlr = 0\n", "lr"),
    "lr nan": ("[optimizer]\nkind = 'sgd'\nlr = nan\n", "lr"),
    "lr inf": ("[optimizer]\nkind = 'adamw'\nlr = inf\n", "lr"),
    "lr a word": ("[optimizer]\nkind = 'sgd'\nlr = 'high'\n", "lr"),
    "momentum 1": ("[optimizer]\nkind = 'sgd'\nmomentum = 1.0\n", "momentum"),
    "weight decay negative": (
        "[optimizer]\nkind = 'adamw'\nweight_decay = -1e-4\n",
        "weight_decay",
    ),
    "setting of another kind": ("[optimizer]\nkind = 'adamw'\nnesterov = true\n", "nesterov"),
    "unknown optimizer": ("[optimizer]\nkind = 'adamm'\n", "write 'adam'"),
    "warmup 1": ("[schedule]\nkind = 'cosine'\nwarmup = 1.0\n", "warmup"),
    "warmup in steps": ("[schedule]\nkind = 'cosine'\nwarmup = 500\n", "warmup"),
    "floor above 1": ("[schedule]\nkind = 'cosine'\nfloor = 2\n", "floor"),
    "smoothing 1": ("[loss]\nkind = 'cross-entropy'\nsmoothing = 1.0\n", "smoothing"),
    "weights and smoothing": (
        "[loss]\nkind = 'cross-entropy'\nsmoothing = 0.1\nclass_weights = [1, 2]\n",
        "smoothing",
    ),
    "negative class weight": (
        "[loss]\nkind = 'cross-entropy'\nclass_weights = [-1.0]\n",
        "class_weights",
    ),
    "unknown loss": ("[loss]\nkind = 'mse'\n", "mse"),
    "mean without std": ("[preprocess]\nkind = 'channel-stats'\nmean = [0.5]\n", "std"),
    "std zero": ("[preprocess]\nkind = 'channel-stats'\nmean = [0.5]\nstd = [0.0]\n", "std"),
    "epochs zero": ("[train]\nepochs = 0\n", "epochs"),
    "epochs negative": ("[train]\nepochs = -3\n", "epochs"),
    "epochs nan": ("[train]\nepochs = nan\n", "epochs"),
    "epochs true": ("[train]\nepochs = true\n", "true or false"),
    "betas with true": (
        "[optimizer]\nkind = 'adamw'\nbetas = [true, 0.9]\n",
        "true or false",
    ),
    "minutes negative": ("[train]\nminutes = -1\n", "minutes"),
    "batch size zero": ("[train]\nbatch_size = 0\n", "batch_size"),
    "batch size a fraction": ("[train]\nbatch_size = 12.5\n", "batch_size"),
    "batch size a word": ("[train]\nbatch_size = 'large'\n", "batch_size"),
    "accumulate zero": ("[train]\naccumulate = 0\n", "accumulate"),
    "accumulate does not divide": ("[train]\nbatch_size = 64\naccumulate = 5\n", "accumulate"),
    "clip norm zero": ("[train]\nclip_norm = 0\n", "clip_norm"),
    "ema 1": ("[train]\nema = 1.0\n", "ema"),
    "swa above 1": ("[train]\nswa = 1.5\n", "swa"),
    "precision": ("[train]\nprecision = 'float8'\n", "precision"),
    "seed negative": ("[train]\nseed = -1\n", "seed"),
    "seed a fraction": ("[train]\nseed = 0.5\n", "seed"),
    "workers negative": ("[train]\nworkers = -1\n", "workers"),
    "image size zero": ("[train]\nimage_size = 0\n", "image_size"),
    "sizes do not start at 0": ("[train]\nsizes = [[0.5, 8]]\n", "sizes"),
    "sizes fall back": ("[train]\nsizes = [[0.0, 8], [0.6, 8], [0.3, 8]]\n", "sizes"),
    "sizes of one number": ("[train]\nsizes = [8]\n", "sizes"),
    "unknown train setting": ("[train]\nepoch = 3\n", "write `epochs`"),
    "unknown evaluate setting": ("[evaluate]\nview = ['flip']\n", "write `views`"),
    "unknown view": ("[evaluate]\nviews = ['flop']\n", "flop"),
    "samples negative": ("[evaluate]\nsamples = -1\n", "samples"),
    "average": ("[evaluate]\naverage = 'votes'\n", "average"),
    "every zero": ("[evaluate]\nevery = 0\n", "every"),
    "resnet depth": ("[model]\nkind = 'resnet'\ndepth = 17\n", "depth"),
    "no widths": ("[model]\nkind = 'cnn'\nwidths = []\n", "widths"),
    "zero width": ("[model]\nkind = 'cnn'\nwidths = [0]\n", "widths"),
    "dropout 1": ("[model]\nkind = 'cnn'\ndropout = 1.0\n", "dropout"),
    "activation": ("[model]\nkind = 'cnn'\nactivation = 'reloo'\n", "activation"),
    "unknown timm name": ("[model]\nkind = 'timm'\narch = 'resnet_1000'\n", "resnet_1000"),
    "unknown torchvision name": ("[model]\nkind = 'torchvision'\narch = 'resnet19'\n", "resnet19"),
    "unknown layer": ("[[layers]]\nkind = 'dropuot'\n", "write 'dropout'"),
    "unknown init": ("[[init]]\nkind = 'xavier'\n", "xavier"),
    "unknown penalty": ("[[penalties]]\nkind = 'l3'\n", "l3"),
    "penalty negative": ("[[penalties]]\nkind = 'l1'\nstrength = -1\n", "strength"),
}


@pytest.mark.parametrize("case", RECIPES)
def test_a_bad_recipe_is_refused(case, called, tmp_path):
    text, says = RECIPES[case]
    (tmp_path / "bad.toml").write_text(text)
    refused(called, tmp_path, "train", "digits", "--recipe", "bad.toml", says=says)


COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "no such data": (("train", "no/such/folder"), "no/such/folder"),
    "misspelt set": (("train", "digts"), "digits"),
    "no such recipe": (("train", "digits", "--recipe", "small-fats"), "small-fast"),
    "no such device": (("train", "digits", "--recipe", "digits", "--device", "tpu"), "tpu"),
    "cuda 99": (("train", "digits", "--recipe", "digits", "--device", "cuda:99"), "cuda:99"),
    "set without value": (
        ("train", "digits", "--recipe", "digits", "--set", "optimizer.lr"),
        "--set",
    ),
    "set without field": (
        ("train", "digits", "--recipe", "digits", "--set", "lr=0.1"),
        "section.field",
    ),
    "set unknown section": (
        ("train", "digits", "--recipe", "digits", "--set", "optimiser.lr=1"),
        "optimizer",
    ),
    "set unknown field": (
        ("train", "digits", "--recipe", "digits", "--set", "optimizer.lrr=1"),
        "write `lr`",
    ),
    "set absent augment": (
        ("train", "digits", "--recipe", "digits", "--set", "augment.flip.prob=1"),
        "flip",
    ),
    "set out of range": (("train", "digits", "--recipe", "digits", "--set", "train.ema=2"), "ema"),
    "epochs option": (("train", "digits", "--recipe", "digits", "--epochs", "-1"), "epochs"),
    "batch size option": (
        ("train", "digits", "--recipe", "digits", "--batch-size", "many"),
        "batch_size",
    ),
    "evaluate nothing": (("evaluate", "no-run"), "not a run"),
    "predict nothing": (("predict", "no-run", "a.jpg"), "not a run"),
    "resume nothing": (("resume", "no-run"), "not a run"),
    "runs nowhere": (("runs", "nowhere"), "no runs"),
    "explain nothing": (("explain", "cutuot"), "write 'cutout'"),
    "show no recipe": (("recipe", "show", "smal-fast"), "small-fast"),
    "diff no recipe": (("recipe", "diff", "digits", "digitz"), "digits"),
    "schedule of no recipe": (("show", "schedule", "--recipe", "nope"), "nope"),
    "check nothing": (("check",), "nothing to check"),
    "check no file": (("check", "nope.py:make"), "nope.py"),
    "check no rule": (("check", "digits", "--select", "dead-unit"), "dead-units"),
    "explain no rule": (("check", "--explain", "dead-unit"), "dead-units"),
    "compare nothing": (("compare", "digits", "--data", "digits"), "nothing to compare"),
    "compare without what is not there": (
        ("compare", "digits", "--data", "digits", "--without", "cutout"),
        "cutout",
    ),
    "compare with nothing known": (
        ("compare", "digits", "--data", "digits", "--with", "magic"),
        "magic",
    ),
    "compare on train": (
        ("compare", "digits", "--data", "digits", "--with", "cutout", "--split", "train"),
        "train",
    ),
    "weights that are not there": (
        ("train", "digits", "--recipe", "photos-finetune", "--from", "no/such/file.safetensors"),
        "no/such/file.safetensors",
    ),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_bad_command_is_refused(case, called, tmp_path):
    words, says = COMMANDS[case]
    refused(called, tmp_path, *words, says=says)


def photos(folder: Path, **counts: int) -> Path:
    """A folder by class of small real image files."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_a_folder_without_images(called, tmp_path):
    (tmp_path / "data/a").mkdir(parents=True)
    refused(called, tmp_path, "train", "data")


def test_a_single_class(called, tmp_path):
    photos(tmp_path / "data", only=6)
    refused(called, tmp_path, "train", "data", says="class")


def test_too_many_broken_files(called, tmp_path):
    folder = photos(tmp_path / "data", a=10, b=10)
    for i in range(5):
        (folder / "a" / f"broken{i}.jpg").write_bytes(b"this is no image")
    refused(called, tmp_path, "train", "data", says="cannot be read")


def test_an_unwritable_place(called, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(
        called,
        tmp_path,
        "train",
        "digits",
        "--recipe",
        "digits",
        "--runs",
        "file/runs",
        says="cannot write",
    )


def test_a_name_that_is_taken(called, tmp_path):
    (tmp_path / "runs/taken").mkdir(parents=True)
    (tmp_path / "runs/taken/note.txt").write_text("mine")
    refused(
        called, tmp_path, "train", "digits", "--recipe", "digits", "--name", "taken", says="already"
    )


def test_a_csv_of_files_that_are_not_there(called, tmp_path):
    (tmp_path / "t.csv").write_text("path,label\na.png,x\nb.png,y\n")
    refused(called, tmp_path, "train", "t.csv")


OWN = {
    "raises": ("def make():\n    raise ValueError('no luck')\n", "ValueError: no luck"),
    "is no Python": ("def make(:\n", "SyntaxError"),
    "imports nothing": ("import no_such_module_zzz\n", "no_such_module_zzz"),
    "returns a number": ("def make():\n    return 3\n", "int"),
    "has another name": ("def build():\n    return 3\n", "build"),
}


@pytest.mark.parametrize("command", ["check", "audit"])
@pytest.mark.parametrize("case", OWN)
def test_own_code_that_fails(case, command, called, tmp_path):
    code, says = OWN[case]
    (tmp_path / "mine.py").write_text(code)
    refused(called, tmp_path, command, "mine.py:make", says=says)


@pytest.mark.parametrize("name", ["../up", "a/b", ".."])
def test_a_name_that_is_no_folder(name, called, tmp_path):
    refused(called, tmp_path, "train", "digits", "--name", name, says="name of a run")


def test_a_picture_where_a_folder_is(called, tmp_path):
    (tmp_path / "here").mkdir()
    refused(called, tmp_path, "show", "schedule", "--out", "here", says="cannot write")


def test_an_empty_csv(called, tmp_path):
    (tmp_path / "t.csv").write_text("")
    refused(called, tmp_path, "train", "t.csv")


def test_an_npz_of_something_else(called, tmp_path):
    np.savez(tmp_path / "a.npz", numbers=np.arange(3))
    refused(called, tmp_path, "train", "a.npz")


def test_a_file_that_is_no_npz(called, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    refused(called, tmp_path, "train", "a.npz")


def test_the_real_process_exits_with_two(goodfit):
    done = goodfit("train", "digits", "--set", "optimizer.lr=-1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "  fix " in done.stderr
