"""`goodfit.check` as a doctor of this benchmark: its errors and warnings are alarms."""

from collections.abc import Iterable

from benchmarks.check.alarm import Alarm
from benchmarks.check.program import Pieces

from goodfit.check import Report, check


def report(pieces: Pieces, select: Iterable[str] = ()) -> Report:
    return check(
        pieces.model,
        pieces.train,
        pieces.val,
        loss=pieces.loss,
        optimizer=pieces.optimizer,
        schedule=pieces.schedule,
        steps=pieces.steps,
        logits=pieces.logits,
        select=sorted(select),
    )


def diagnose(pieces: Pieces) -> list[Alarm]:
    found = [f for f in report(pieces).findings if f.severity != "advice"]
    return [Alarm(frozenset({f.rule}), f.where, f.rule, f.fix) for f in found]
