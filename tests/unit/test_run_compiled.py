"""Whether training steps are compiled is tried out, never assumed; the compiler is made up here."""

import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from goodfit.check.watch import Watcher
from goodfit.errors import TrainingError
from goodfit.recipe.recipe import Train
from goodfit.run.compiled import _Took, compiling, stepping, tried
from goodfit.run.start import train


class Slow(nn.Module):
    """A net that rests before it computes."""

    def __init__(self, seconds: float, sign: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.seconds, self.sign = nn.Linear(4, 3), seconds, sign

    def forward(self, x):
        time.sleep(self.seconds)
        return self.sign * self.net(x)


IMAGES, TARGETS = torch.ones(8, 4), torch.eye(3)[torch.zeros(8).long()]


def answer(monkeypatch, made, seconds: float = 10_000.0):
    monkeypatch.setattr(torch, "compile", made)
    return tried(
        Slow(0.05), IMAGES, TARGETS, F.cross_entropy, torch.float32, steps=None, seconds=seconds
    )


def test_a_short_run_is_not_tried(monkeypatch):
    def never(*_, **__):
        pytest.fail("compiled")

    assert answer(monkeypatch, never, seconds=60.0) == (False, "")


def test_faster_steps_that_win_the_compilation_back_are_taken(monkeypatch):
    found = answer(monkeypatch, lambda *_, **__: Slow(0.0))
    assert found.pays
    assert found.said.endswith(": used")


def test_steps_that_are_no_faster_are_not_taken(monkeypatch):
    monkeypatch.setattr(
        "goodfit.run.compiled._Step.__call__", lambda _, net: _Took(1.0, 1.0, net.seconds)
    )
    assert not answer(monkeypatch, lambda *_, **__: Slow(0.05)).pays
    assert answer(monkeypatch, lambda *_, **__: Slow(0.04)).pays


def test_a_compilation_that_takes_longer_than_it_saves_is_not_taken(monkeypatch):
    class Compiling(Slow):
        def forward(self, x):
            time.sleep(0.0 if hasattr(self, "done") else 0.5)
            self.done = True
            return super().forward(x)

    monkeypatch.setattr("goodfit.run.compiled._SHORT", 0.1)
    assert answer(monkeypatch, lambda *_, **__: Compiling(0.0), seconds=0.3).pays is False


def test_a_compiler_that_fails_is_said_and_not_used(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no C++ compiler\nmore lines")

    found = answer(monkeypatch, fails)
    assert not found.pays
    assert "does not work here (RuntimeError: no C++ compiler)" in found.said


def test_compiled_code_that_computes_something_else_is_not_used(monkeypatch):
    found = answer(monkeypatch, lambda *_, **__: Slow(0.0, sign=-9.0))
    assert not found.pays
    assert "another loss" in found.said


class Unlearnable(Slow):
    """The right loss, and a gradient that is not a number: as compilers have made it."""

    def forward(self, x):
        logits = super().forward(x)
        logits.register_hook(lambda gradient: gradient * torch.nan)
        return logits


def test_compiled_code_with_another_gradient_is_not_used(monkeypatch):
    found = answer(monkeypatch, lambda *_, **__: Unlearnable(0.0))
    assert not found.pays
    assert "another gradient, its norm nan" in found.said


def test_a_recipe_that_does_not_ask_for_it_is_run_as_it_is():
    net = nn.Linear(2, 2)
    assert stepping(net, Train(compile=False)) is net


def test_a_compiler_that_fails_where_the_recipe_insists_is_one_clear_error():
    class Failed(Exception):
        pass

    Failed.__module__ = "torch._dynamo.exc"
    with pytest.raises(TrainingError, match=r"train.compile = false"), compiling(Train()):
        raise Failed("no compiler")


def test_a_compiled_run_is_watched_like_one_that_is_not_and_ends_with_the_same_bits(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    compiler, measure, heard = torch.compile, Watcher._measure, []
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiler(model, backend="eager"))
    monkeypatch.setattr(import_module("goodfit.run.start"), "_preflight", lambda *_: None)

    def listening(watcher, number):
        heard.append(sorted(watcher._dead))
        return measure(watcher, number)

    monkeypatch.setattr(Watcher, "_measure", listening)
    recipe = "[model]\nkind = 'mlp'\nhidden = [16]\n[train]\nepochs = 2.7\nbatch_size = 64\n"
    recipe += "precision = 'float32'\nchannels_last = false\ncompile = "
    weights = []
    for said in ("false", "true"):
        Path("r.toml").write_text(recipe + said)
        run = train("r.toml", "digits", name=said).path
        weights.append(load_file(run / "checkpoints/last.safetensors"))
    one, other = weights
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert heard[0] == heard[1] != []
