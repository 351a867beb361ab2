"""torch-audit 0.3.0 (PyPI) with its defaults, watching twelve steps of training.

Its advice on hardware and on the optimizer's habits (TA2xx, TA4xx but the dead filters) is not
counted as an alarm, which favors it: TA402 alone speaks up wherever decay reaches a bias.
"""

from contextlib import suppress
from itertools import chain, islice, repeat

from benchmarks.check.alarm import Alarm
from benchmarks.check.program import Pieces
from torch_audit import Auditor, Severity

STEPS = 12
MEANING = {
    "TA100": {"input-nonfinite", "gradient-nonfinite"},
    "TA102": {"gradient-exploding", "signal-exploding"},
    "TA103": {"no-gradient", "dead-units"},
    "TA104": {"no-gradient"},
    "TA105": {"dead-units"},
    "TA301": {"input-scale"},
    "TA302": {"input-degenerate"},
    "TA303": {"input-layout"},
    "TA304": {"bn-small-batch"},
    "TA305": {"labels-invalid", "input-nonfinite"},
    "TA405": {"symmetric-init", "dead-units"},
    "TA500": {"unused-parameters"},
    "TA501": {"shared-parameters"},
}


def diagnose(pieces: Pieces) -> list[Alarm]:
    auditor = Auditor(pieces.model, optimizer=pieces.optimizer, every_n_steps=1)
    pieces.model.train()
    # What was found before the program raised stands.
    with suppress(RuntimeError, IndexError, ValueError), auditor:
        auditor.audit_static()
        auditor.audit_init()
        for x, y, *_ in islice(chain.from_iterable(repeat(pieces.train)), STEPS):
            pieces.optimizer.zero_grad()
            auditor.backward(pieces.loss(auditor.forward(x), y))
            auditor.optimizer_step()
    alarms: dict[tuple[str, str], Alarm] = {}
    for found in auditor.finish().findings:
        if found.severity >= Severity.WARN and found.rule_id in MEANING:
            where = found.module_path or found.entity or ""
            alarm = Alarm(frozenset(MEANING[found.rule_id]), where, found.rule_id)
            alarms.setdefault((found.rule_id, where), alarm)
    return list(alarms.values())
