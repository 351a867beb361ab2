"""Weights averaged into one net: all of them, or those that do not hurt on validation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from goodfit.ensemble.members import Member
from goodfit.errors import RunError
from goodfit.metrics import Score

Weights = dict[str, Tensor]


def check_same_net(members: Sequence[Member]) -> None:
    """Refuse a soup of different nets, kinds of preprocessing, or orders of classes.

    Fitted preprocessing may differ a little, by the images it was fitted on: it is averaged too.
    """
    first = members[0].run
    for run in (member.run for member in members[1:]):
        for what, one, other in (
            ("model", first.recipe.model, run.recipe.model),
            ("set of layers", first.recipe.layers, run.recipe.layers),
            ("preprocessing", first.recipe.preprocess.name, run.recipe.preprocess.name),
            ("order of classes", first.classes, run.classes),
        ):
            if one != other:
                raise RunError(
                    f"weights of nets with another {what} cannot be averaged",
                    at=f"{first.path} and {run.path}",
                    seen=f"{one} and {other}",
                    fix="average what they say instead: --how probabilities",
                )


def averaged(states: Sequence[Weights]) -> Weights:
    """The mean of weights by name, summed in float64; counters are the first one's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in states[0].items()
    }


def greedy(scores: Sequence[Score], tried: Callable[[list[int]], Score]) -> list[int]:
    """Places of the members that a greedy soup keeps, in the order in which they were tried.

    `tried` scores the soup of some places on validation. Of equal members the lower loss is first.
    """
    order = sorted(range(len(scores)), key=lambda i: (-scores[i].accuracy, scores[i].nll))
    kept, best = order[:1], scores[order[0]].accuracy
    for place in order[1:]:
        found = tried([*kept, place])
        if found.accuracy >= best:
            kept, best = [*kept, place], found.accuracy
    return kept
