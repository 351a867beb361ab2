"""A training program with a known fault, or known to be healthy.

A faulty program and its healthy twin come from one function: `make(sick, seed)` builds the
pieces with the fault (`sick=True`) or without it, and everything else is the same.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

HALVES = ("development", "heldout", "fresh", "last", "final", "unseen")


@dataclass
class Pieces:
    """What a user's script has in hand before its first step."""

    model: nn.Module
    train: Iterable[Any]
    val: Iterable[Any] | None
    optimizer: Optimizer
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    schedule: Callable[[float], float] | None = None
    steps: int = 150
    logits: Callable[[Any], Tensor] | None = None
    test: Iterable[Any] | None = None  # clean data, for judging only; never shown to a doctor


@dataclass(frozen=True)
class Program:
    """One row of the benchmark; `causes` is empty for a healthy program."""

    name: str
    page: str
    make: Callable[[bool, int], Pieces]
    causes: frozenset[str]  # any of these rules names the cause
    where: frozenset[str] | None  # any of these places is right; None if the fault is global
    net: str
    measure: str  # how `verify.py` judges a trained program: see training.py
    least: float  # a healthy program has learnt at this value of the measure
    half: str = ""

    @property
    def healthy(self) -> bool:
        return not self.causes

    def pieces(self, seed: int = 0, *, twin: bool = False) -> Pieces:
        torch.manual_seed(1000 + seed)
        return self.make(not (twin or self.healthy), seed)


def faulty(
    *causes: str,
    net: str,
    where: Iterable[str] | None = None,
    measure: str = "accuracy",
    least: float = 0.8,
) -> Callable[[Callable[[bool, int], Pieces]], Program]:
    """Turn `make(sick, seed)` into a program; its name and docstring are the program's."""
    places = None if where is None else frozenset(where)

    def named(make: Callable[[bool, int], Pieces]) -> Program:
        page = (make.__doc__ or "").strip()
        return Program(make.__name__, page, make, frozenset(causes), places, net, measure, least)

    return named


def healthy(
    *, net: str, measure: str = "accuracy", least: float = 0.8
) -> Callable[[Callable[[int], Pieces]], Program]:
    """Turn `make(seed)` into a healthy program."""

    def named(make: Callable[[int], Pieces]) -> Program:
        page = (make.__doc__ or "").strip()
        both = lambda _sick, seed: make(seed)  # noqa: E731
        return Program(make.__name__, page, both, frozenset(), None, net, measure, least)

    return named


def programs(half: str, only: str = "") -> list[Program]:
    """The programs of a half or of "all", by file; `only` is a regular expression on the name."""
    halves = HALVES if half == "all" else (half,)
    found: list[Program] = []
    for part in halves:
        package = importlib.import_module(f"benchmarks.check.{part}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            mine = [value for value in vars(module).values() if isinstance(value, Program)]
            found += [replace(program, half=part) for program in mine]
    names = [program.name for program in found]
    assert len(set(names)) == len(names), "two programs have the same name"
    return [program for program in found if re.search(only, program.name)]


def is_right_place(where: str | None, right: Iterable[str]) -> bool:
    """Is `where` one of the right places, or inside one?

    >>> is_right_place("layers.3.weight", {"layers.3"}), is_right_place("layers.31", {"layers.3"})
    (True, False)
    >>> is_right_place("train batch 2", {"2"}), is_right_place("layers.2", {"2"})
    (True, False)
    """
    edges = (rf"(?<![\w.]){re.escape(place)}(?!\w)" for place in right)
    return any(re.search(edge, where or "") for edge in edges)
