"""What explains what: symptoms go under the finding that accounts for them.

A net with unscaled inputs has a first loss that is off, saturated units and exploding gradients.
Four findings would send the reader to four places; one cause sends him to one.
"""

from collections.abc import Sequence
from dataclasses import replace

from goodfit.check.finding import Finding

ANY = "*"
LEARNING = [
    "cannot-overfit-batch",
    "lr-too-high",
    "lr-too-low",
    "dead-units",
    "constant-output",
    "gradient-vanishing",
    "gradient-exploding",
    "loss-plateau",
    "underfitting",
]
SIGNAL = [
    "initial-loss-off",
    "signal-vanishing",
    "signal-exploding",
    "gradient-vanishing",
    "gradient-exploding",
    "saturated-units",
    "dead-units",
    "constant-output",
    "no-gradient",
    "lr-too-high",
    "lr-too-low",
    "cannot-overfit-batch",
    "optimizer-hyperparameters",
]

EXPLAINS: dict[str, list[str]] = {
    "input-nonfinite": [
        "gradient-nonfinite",
        "input-scale",
        "train-val-shift",
        "labels-uninformative",
        *SIGNAL,
    ],
    "input-degenerate": [
        "constant-output",
        "duplicate-samples",
        "labels-uninformative",
        "train-val-leak",
        "train-val-shift",
        "input-scale",
        *LEARNING,
    ],
    "input-scale": ["gradient-nonfinite", "bn-stats", *SIGNAL],
    "input-layout": ["labels-uninformative", "train-val-shift"],
    "train-val-shift": [
        "label-mapping-mismatch",
        "overfitting",
        "label-leak",
        "bn-stats",
        "label-noise",
    ],
    "train-val-leak": ["duplicate-samples"],
    "duplicate-samples": ["train-val-shift"],
    "val-not-deterministic": ["label-leak"],
    "labels-invalid": [
        "step-raises",
        "gradient-nonfinite",
        "output-width",
        "class-missing",
        "loss-target-mismatch",
        "initial-loss-off",
        *LEARNING,
    ],
    "output-width": ["step-raises", "labels-invalid", "initial-loss-off"],
    "labels-uninformative": [
        "label-noise",
        "cannot-overfit-batch",
        "lr-too-low",
        "label-mapping-mismatch",
    ],
    "label-mapping-mismatch": ["label-noise", "overfitting", "train-val-shift"],
    "label-leak": ["train-val-shift", "label-noise", "overfitting"],
    "class-imbalance": ["class-missing"],
    "class-missing": ["output-width", "class-imbalance"],
    "unshuffled-batches": [
        "class-missing",
        "class-imbalance",
        "bn-stats",
        "eval-expectation-mismatch",
        *LEARNING,
    ],
    "symmetric-init": ["no-gradient", "information-bottleneck", *SIGNAL],
    "signal-vanishing": ["input-scale", *SIGNAL],
    "signal-exploding": ["gradient-nonfinite", *SIGNAL],
    "dead-units": [
        "no-gradient",
        "signal-vanishing",
        "gradient-vanishing",
        "constant-output",
        "cannot-overfit-batch",
        "unused-parameters",
        "lr-too-low",
    ],
    "saturated-units": [
        "gradient-vanishing",
        "signal-vanishing",
        "constant-output",
        "cannot-overfit-batch",
        "lr-too-low",
        "lr-too-high",
    ],
    "gradient-vanishing": ["lr-too-low", "cannot-overfit-batch", "constant-output", "no-gradient"],
    "gradient-exploding": ["lr-too-high", "cannot-overfit-batch"],
    "no-nonlinearity": ["cannot-overfit-batch"],
    "gradient-nonfinite": ["lr-too-high", "gradient-exploding", "no-gradient", *LEARNING],
    "no-gradient": ["step-raises", "unused-parameters", *LEARNING],
    "output-activation": [
        "loss-target-mismatch",
        "loss-sign",
        "initial-loss-off",
        "dead-units",
        "saturated-units",
        "no-gradient",
        "batch-leakage",
        "weight-decay-scale",
        *LEARNING,
    ],
    "loss-reduction": [
        "step-raises",
        "initial-loss-off",
        "gradient-exploding",
        "lr-too-high",
        "dead-units",
        "saturated-units",
        "constant-output",
        "gradient-nonfinite",
    ],
    "loss-target-mismatch": ["initial-loss-off", "loss-ignores-samples", *LEARNING],
    "loss-sign": [
        "loss-target-mismatch",
        "initial-loss-off",
        "gradient-nonfinite",
        "loss-reduction",
        *LEARNING,
    ],
    "loss-ignores-samples": ["loss-target-mismatch", "cannot-overfit-batch"],
    "params-not-optimized": [*LEARNING],
    "frozen-params": ["params-not-optimized", "cannot-overfit-batch", "lr-too-low"],
    "lr-too-high": [
        "dead-units",
        "constant-output",
        "gradient-nonfinite",
        "gradient-exploding",
        "gradient-vanishing",
        "cannot-overfit-batch",
        "no-gradient",
        "bn-stats",
    ],
    "lr-too-low": ["cannot-overfit-batch", "underfitting", "loss-plateau"],
    "weight-decay-scale": [
        "lr-too-high",
        "lr-too-low",
        "signal-vanishing",
        "gradient-vanishing",
        "constant-output",
        "dead-units",
        "cannot-overfit-batch",
    ],
    "optimizer-hyperparameters": [
        "lr-too-high",
        "lr-too-low",
        "cannot-overfit-batch",
        "gradient-nonfinite",
    ],
    "dropout-rate": [*LEARNING],
    "dropout-on-output": ["cannot-overfit-batch", "lr-too-low"],
    "bn-stats": ["eval-expectation-mismatch"],
    "bn-small-batch": ["bn-stats", "eval-expectation-mismatch", "step-raises"],
    "stuck-mode": [
        "eval-nondeterministic",
        "batch-leakage",
        "bn-stats",
        "eval-expectation-mismatch",
        "val-not-deterministic",
    ],
    "eval-nondeterministic": ["eval-expectation-mismatch"],
    "unregistered-modules": [
        "unused-parameters",
        "params-not-optimized",
        "stuck-mode",
        "eval-nondeterministic",
        "batch-leakage",
        *LEARNING,
    ],
    "shared-parameters": ["symmetric-init", "eval-expectation-mismatch"],
    "information-bottleneck": ["cannot-overfit-batch"],
    "step-raises": [],
}


def folded(
    findings: Sequence[Finding], layers: Sequence[str] = ()
) -> tuple[list[Finding], list[Finding]]:
    """(causes, symptoms): a symptom names its cause in `because`.

    layers: names from the input to the head. Where two findings could each be the other's cause,
    the one that shows first on the way through the net is.

    Only alarms explain, and only what is no worse than themselves: advice about the input scale
    does not swallow an error. The catch-all goes under anything that was found.
    """
    alarms = [f for f in findings if f.severity != "advice"]
    catch_all = {"cannot-overfit-batch"}
    causes, symptoms = [], []
    explained_by: dict[str, str] = {}
    first = _first_places(alarms, layers)
    for finding in alarms:
        if finding.rule in catch_all:
            continue
        for symptom in EXPLAINS.get(finding.rule, ()):
            mutual = finding.rule in EXPLAINS.get(symptom, ())
            if mutual and first.get(symptom, len(layers)) < first.get(finding.rule, -1):
                continue
            if symptom != finding.rule and not _explained(finding.rule, symptom, explained_by):
                explained_by.setdefault(symptom, finding.rule)
    others = [f for f in alarms if f.rule not in catch_all]
    for finding in findings:
        because = explained_by.get(finding.rule, "")
        if finding.rule in catch_all and others:
            because = others[0].rule
        if because:
            symptoms.append(replace(finding, because=_root(because, explained_by)))
        else:
            causes.append(finding)
    return causes, symptoms


def _first_places(alarms: Sequence[Finding], layers: Sequence[str]) -> dict[str, int]:
    """How far from the input each rule first found something, where it named a layer."""
    place = {name: number for number, name in enumerate(layers)}
    first: dict[str, int] = {}
    for finding in alarms:
        if finding.where in place:
            first[finding.rule] = min(first.get(finding.rule, len(layers)), place[finding.where])
    return first


def _explained(rule: str, symptom: str, explained_by: dict[str, str]) -> bool:
    """Whether taking `rule` as the cause of `symptom` would close a circle."""
    while rule in explained_by:
        rule = explained_by[rule]
        if rule == symptom:
            return True
    return False


def _root(rule: str, explained_by: dict[str, str]) -> str:
    known = set()
    while rule in explained_by and rule not in known:
        known.add(rule)
        rule = explained_by[rule]
    return rule
