"""Probes: measure a program on clones and leave one frozen record each. They do not judge."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch

from goodfit.check.batches import taken
from goodfit.check.portion import shorten
from goodfit.check.probes.dry_run import DryRun, dry_run
from goodfit.check.probes.evaluation import Evaluation, evaluation
from goodfit.check.probes.flow import Flow, flow
from goodfit.check.probes.gradients import Gradients, gradients
from goodfit.check.probes.held_out import HeldOut, held_out
from goodfit.check.probes.learnable import Learnable, learnable
from goodfit.check.probes.loss_facts import LossFacts, loss_facts
from goodfit.check.probes.modes import Modes, modes
from goodfit.check.probes.norms import Norms, norms
from goodfit.check.probes.overfit import Overfit, overfit
from goodfit.check.probes.samples import Samples, fingerprints, samples, side
from goodfit.check.probes.training import Training, training
from goodfit.check.probes.wiring import Wiring, wiring
from goodfit.check.program import reseed
from goodfit.check.seen import Seen
from goodfit.check.work import Work

RUNNING: tuple[tuple[type, Callable[[Work], Any]], ...] = (
    (Wiring, wiring),
    (LossFacts, loss_facts),
    (Training, training),
    (Modes, modes),
    (HeldOut, held_out),
    (Flow, flow),
    (Gradients, gradients),
    (Evaluation, evaluation),
    (Norms, norms),
    (Overfit, overfit),
)
NEEDS: dict[type, set[type]] = {
    Learnable: {Samples},
    Flow: {Training},
    Gradients: {Training},
    Modes: {Training},
    HeldOut: {Training},
}  # they look at the trained clone


def measure(
    work: Work, train: Iterable[Any], val: Iterable[Any] | None, wanted: set[type]
) -> tuple[Seen, dict[type, str]]:
    """Run the probes that the rules want. A probe that raises leaves no record but its reason."""
    seen, failed = Seen(), {}
    wanted = wanted | {need for kind in wanted for need in NEEDS.get(kind, ())}

    def run(kind: type, probe: Callable[[], Any]) -> None:
        if kind not in wanted:
            return
        try:
            torch.manual_seed(work.program.seed)
            record = probe()
            if record is not None:
                seen.add(record)
        except Exception as error:
            failed[kind] = f"{type(error).__name__}: {error}"[:200]

    run(Samples, lambda: _samples(work, train, val))
    data = seen.get(Samples)
    if data is not None:
        run(Learnable, lambda: learnable(data))
    shorten(work)
    run(DryRun, lambda: dry_run(work))
    dry = seen.get(DryRun)
    alive = dry is None or dry.stage == ""
    forwards = dry is not None and dry.stage in ("loss", "backward", "step")
    for kind, probe in RUNNING:
        if alive or kind in (Wiring, LossFacts) or (forwards and kind is Flow):
            run(kind, lambda probe=probe: probe(work))  # type: ignore[misc]
        else:
            failed[kind] = "the program raises before a step is done"
    return seen, failed


def _samples(work: Work, train: Iterable[Any], val: Iterable[Any] | None) -> Samples | None:
    """The data, with a second pass of val when it can be passed again."""
    found = samples(work)
    if found is not None and val is not None:
        changes = _augmented(work, found, train)
        steady = not changes and not isinstance(train, (list, tuple))
        found = replace(found, augmented=changes, steady=steady)
    if found is None or val is None or work.program.val is None or found.val is None:
        return found
    if iter(val) is val or isinstance(val, (list, tuple)):
        return found
    reseed(work.program.seed + 99)
    again = side(taken(val, work.program.device, images=2048))
    if again is None or again.x.shape[1:] != found.val.x.shape[1:]:
        return found
    return replace(found, again=(fingerprints(found.val.x), fingerprints(again.x)))


def _augmented(work: Work, found: Samples, train: Iterable[Any]) -> bool:
    """Whether train delivers other values in a second pass; True when that cannot be told."""
    if isinstance(train, (list, tuple)):
        return False
    if iter(train) is train or not found.train.complete:
        return True
    reseed(work.program.seed + 98)
    again = side(taken(train, work.program.device, seconds=2.0))
    if again is None or again.x.shape[1:] != found.train.x.shape[1:]:
        return True
    known = torch.isin(fingerprints(again.x), fingerprints(found.train.x))
    return bool(known.float().mean() < 0.9)
