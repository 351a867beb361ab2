"""Several classifiers as one: what an ensemble's directory holds, built and read back.

    probabilities   log of the mean over members of softmax(f_m(x))
    logits          mean over members of log softmax(f_m(x)), normalized by whoever takes softmax

An ensemble directory is a run directory with `ensemble.json` (how, and each member's classes),
`members/0`, `members/1`, ... (each with its recipe and own code) and one weights file for all.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from goodfit.batch import constant
from goodfit.errors import RunError
from goodfit.predict import Classifier
from goodfit.recipe.read import read
from goodfit.run.build import classifier
from goodfit.run.directory import RunDirectory

How = Literal["probabilities", "logits"]
FILE = "ensemble.json"


class Committee(nn.Module):
    """The mean of classifiers whose outputs are put in one order. Takes images as they come."""

    def __init__(
        self, members: Sequence[Classifier], columns: Sequence[Sequence[int]], how: How
    ) -> None:
        super().__init__()
        self.members, self.how = nn.ModuleList(members), how
        self.columns = [list(places) for places in columns]

    def forward(self, images: Tensor) -> Tensor:
        rows = [
            member(images).index_select(1, constant(places, images.device)).float().log_softmax(1)
            for member, places in zip(self.members, self.columns, strict=True)
        ]
        stacked = torch.stack(rows)
        if self.how == "logits":
            return stacked.mean(0)
        return stacked.logsumexp(0) - math.log(len(rows))


def assembled(members: Sequence[Classifier], how: How) -> Classifier:
    """Members as one classifier, with the first one's classes; the others' matched by name."""
    classes = members[0].classes
    columns = [[member.classes.index(name) for name in classes] for member in members]
    return Classifier(nn.Identity(), Committee(members, columns, how), classes)


def committee(directory: RunDirectory, channels: int) -> Classifier:
    """The untrained classifier of an ensemble's directory, for its weights to be put in."""
    about = directory.read(FILE)
    try:
        how, rows = about["how"], [tuple(map(str, row["classes"])) for row in about["members"]]
    except (KeyError, TypeError):
        how, rows = None, []
    if how not in get_args(How) or not rows:
        raise RunError(
            "this file does not describe an ensemble",
            at=str(directory.path / FILE),
            wanted="`how` and `members`",
            fix="make the ensemble again: goodfit ensemble RUN RUN",
        )
    members = [
        classifier(read(directory.path / "members" / str(place)), classes, channels)
        for place, classes in enumerate(rows)
    ]
    return assembled(members, how)
