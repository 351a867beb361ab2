"""The course of the learning rate: a schedule of progress, or one of torch's, played on a dummy."""

import copy
import math
import warnings
from typing import Any

import torch
from torch.optim import Optimizer

from goodfit.check.work import Work

MOST = 2000  # steps of a scheduler that are played


def peaks(work: Work) -> list[float]:
    """The highest learning rate of each group that the run reaches."""
    optimizer = work.program.optimizer
    if optimizer is None:
        return []
    course = _course(work)
    if course:
        return [max(rates) for rates in zip(*course, strict=True)]
    return [peak_lr(group) * highest_factor(work) for group in optimizer.param_groups]


def warms_up(work: Work) -> bool:
    """Whether the learning rate starts low and rises."""
    schedule, optimizer = work.program.schedule, work.program.optimizer
    if optimizer is not None:
        course = _course(work)
        if course:
            return max(course[0]) < 0.7 * max(map(max, course))
        if any(float(g.get("lr", 1.0)) < 0.7 * peak_lr(g) for g in optimizer.param_groups):
            return True
    if not _of_progress(schedule):
        return schedule is not None
    try:
        return float(schedule(0.0)) < 0.7 * highest_factor(work)
    except Exception:
        return False


def mean_factor(work: Work) -> float:
    """The mean factor of a schedule of progress over its peak; 1 for any other."""
    schedule = work.program.schedule
    if not _of_progress(schedule):
        return 1.0
    try:
        return sum(float(schedule(i / 100)) for i in range(100)) / 100 / highest_factor(work)
    except Exception:
        return 1.0


def highest_factor(work: Work) -> float:
    """The largest factor of a schedule that is a function of progress."""
    schedule = work.program.schedule
    if not _of_progress(schedule):
        return 1.0
    try:
        return max(float(schedule(i / 50)) for i in range(50)) or 1.0
    except Exception:
        return 1.0


def peak_lr(group: dict[str, Any]) -> float:
    """The highest learning rate that a group itself speaks of."""
    return max(
        float(group[name]) for name in ("lr", "initial_lr", "max_lr") if group.get(name) is not None
    )


def _course(work: Work) -> list[list[float]]:
    """What `played` gives, played once per check."""
    program = work.program
    if work.course is None and program.optimizer is not None:
        work.course = played(program.schedule, program.optimizer, program.steps)
    return work.course or []


def played(schedule: Any, optimizer: Optimizer, steps: int | None) -> list[list[float]]:
    """Rates of the groups at each step of one of torch's schedulers; empty for anything else.

    A scheduler may be meant for epochs, so only its highest rate is to be trusted.
    """
    if schedule is None or getattr(schedule, "optimizer", None) is not optimizer:
        return []
    dummy = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    dummy.param_groups[:] = [
        {**{k: copy.copy(v) for k, v in group.items() if k != "params"}, "params": []}
        for group in optimizer.param_groups
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copied = copy.deepcopy(schedule, {id(optimizer): dummy})
            course = [[float(g["lr"]) for g in dummy.param_groups]]
            for _ in range(min(steps or 500, MOST)):
                copied.step()
                course.append([float(g["lr"]) for g in dummy.param_groups])
    except Exception:
        return []
    return course if all(math.isfinite(rate) for rates in course for rate in rates) else []


def _of_progress(schedule: Any) -> bool:
    return schedule is not None and not hasattr(schedule, "optimizer") and callable(schedule)
