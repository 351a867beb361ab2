"""Look at a training program and say what is wrong with it, where, and how to mend it.

Nothing of the user's is changed: probes work on clones, and what could be reached from them is
put back bit for bit, also when the program raises.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from goodfit.check.batches import spread, taken
from goodfit.check.causes import folded
from goodfit.check.finding import Finding, worst_first
from goodfit.check.holm import holm
from goodfit.check.own import made
from goodfit.check.probes import measure
from goodfit.check.probes.flow import Flow
from goodfit.check.program import Program, own_randomness
from goodfit.check.report import Report
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.check.untouched import untouched
from goodfit.check.work import Work
from goodfit.errors import ModelError, RecipeError
from goodfit.ingredient import find, names, page

_VAL = 2048  # validation images to look at
LEVEL = 0.01  # chance of any false alarm in a report, over all rules and layers


def check(
    model: nn.Module,
    train_batches: Iterable[Any],
    val_batches: Iterable[Any] | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] | None = None,
    optimizer: Optimizer | None = None,
    schedule: Any = None,
    steps: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    logits: Callable[[Any], Tensor] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    seconds: float = 40.0,
) -> Report:
    """Findings about a training program.

    train_batches, val_batches: iterables of (x, y) or of goodfit's batches.
    loss: (output, target) → scalar; cross-entropy on the logits if None.
    optimizer, schedule: the ones that training will use; the schedule may be a function of
        progress or one of torch's schedulers.
    steps: updates that training will make, when known.
    logits: picks the scores out of the model's output, when that is a tuple or a dict.
    select, ignore: only these rules, or all but these.
    seconds: time that probes may take; what does not fit is left out.
    """
    rules = chosen(select, ignore)
    start, resident = time.monotonic(), _resident()
    with untouched(model, optimizer, loss, train_batches, val_batches), own_randomness(seed):
        where = torch.device(device) if device is not None else _device(model)
        program = Program(
            model,
            taken(train_batches, where),
            taken(spread(val_batches, _VAL), where, images=_VAL)
            if val_batches is not None
            else None,
            loss,
            optimizer,
            schedule,
            steps,
            logits,
            seed,
            where,
        )
        work = Work(program, seconds)
        seen, failed = measure(work, train_batches, val_batches, needed(rules))
    findings, skipped = judged(rules, seen, failed)
    flow = seen.get(Flow)
    causes, symptoms = folded(findings, [la.name for la in flow.layers] if flow else [])
    return Report(
        worst_first(causes),
        symptoms,
        skipped,
        time.monotonic() - start,
        max(0, _resident() - resident),
        len(rules),
    )


def judged(
    rules: Sequence[Rule], seen: Seen, failed: dict[type, str]
) -> tuple[list[Finding], dict[str, str]]:
    """What the rules say about the records, and why some could not say anything."""
    findings: list[Finding] = []
    skipped: dict[str, str] = {}
    for rule in rules:
        missing = [kind for kind in rule.needs if kind not in seen]
        if missing:
            skipped[rule.name] = failed.get(
                missing[0], f"no {missing[0].__name__.lower()} to judge"
            )
            continue
        try:
            findings += list(rule(seen))
        except Exception as error:  # one rule's mistake must not hide the others' findings
            skipped[rule.name] = f"{type(error).__name__}: {error}"
    flow = seen.get(Flow)
    tests = sum(rule.statistical for rule in rules) + (len(flow.layers) if flow is not None else 0)
    chances = [f.chance for f in findings if f.chance is not None]
    holds = iter(holm(chances, tests, LEVEL))
    return [f for f in findings if f.chance is None or next(holds)], skipped


def needed(rules: Sequence[Rule]) -> set[type]:
    """The records that these rules want."""
    return {kind for rule in rules for kind in (*rule.needs, *rule.also)}


def rule_names() -> list[str]:
    """All rules, sorted."""
    return names(Rule)


def chosen(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules to run. Raises RecipeError for a name that is none."""
    for name in [*select, *ignore]:
        find(Rule, name)
    wanted = [name for name in (select or rule_names()) if name not in set(ignore)]
    if not wanted:
        raise RecipeError("no rule is left to run", fix="select at least one rule")
    return [find(Rule, name)() for name in wanted]


def explain(rule: str) -> str:
    """The page of a rule: what it means, why it matters, what to do, when it is wrong."""
    return page(Rule, rule)


def _device(model: nn.Module) -> torch.device:
    tensor = next((t for ts in (model.parameters(), model.buffers()) for t in ts), None)
    return tensor.device if tensor is not None else torch.device("cpu")


def _resident() -> int:
    """Peak memory of this process so far, in bytes."""
    if sys.platform == "win32":
        return 0  # not known there
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def check_file(place: str, **settings: Any) -> Report:
    """Check the program that a function of the user's returns: `my_module.py:make`.

    The function takes no arguments and returns the arguments of `check`: a dict by name, or a
    tuple (model, train_batches[, val_batches[, loss[, optimizer]]]).
    """
    found = made(place)
    order = ("model", "train_batches", "val_batches", "loss", "optimizer", "schedule", "steps")
    if not isinstance(found, dict | tuple | list):
        raise RecipeError(
            f"{place} returns no program",
            seen=type(found).__name__,
            fix="return a dict of the pieces by name, or (model, train_batches)",
        )
    pieces = dict(found) if isinstance(found, dict) else dict(zip(order, found, strict=False))
    allowed = set(inspect.signature(check).parameters)
    unknown = sorted(set(pieces) - allowed)
    if unknown:
        raise RecipeError(
            f"{place} returns a piece called {unknown[0]!r}",
            known=", ".join(p for p in inspect.signature(check).parameters),
            fix="return a dict with these names only",
        )
    if "model" not in pieces or "train_batches" not in pieces:
        raise ModelError(
            f"{place} returns no model and batches", fix="return (model, train_batches)"
        )
    return check(**(pieces | settings))
