"""What a report is made from: plain frozen records, filled by whoever ran something.

Rows of steps.jsonl and evaluations.jsonl, findings.json and result.json fit as they are:
`StepRow(**row)`, `Found(**row)`, `Metrics(**row)`. Pictures are data URIs, made by
`goodfit.report.pictures.picture`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from goodfit.metrics import Interval, Metrics

Verdict = Literal["helps", "hurts", "no difference", "undecided"]


class Row(BaseModel):
    """A frozen record that takes from a file what it knows, and leaves the rest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StepRow(Row):
    """One update."""

    step: int
    epoch: float
    loss: float
    lr: float
    grad_norm: float | None = None
    seconds: float | None = None
    images_per_second: float | None = None


class EvaluationRow(Row):
    """One look at the validation split."""

    step: int
    epoch: float
    val_accuracy: float
    val_loss: float
    train_accuracy: float | None = None


class Found(Row):
    """A finding of `check`; `because` names the finding that explains it."""

    rule: str
    severity: Literal["error", "warning", "advice"]
    where: str = ""
    evidence: dict[str, Any] = {}
    fix: str = ""
    because: str = ""


class Picture(Row):
    """An image to show: a data URI, its text alternative, and lines below it."""

    data: str
    alt: str
    lines: tuple[str, ...] = ()


class MistakePicture(Row):
    """A confident mistake, with the image if there is one."""

    name: str  # file or key of the image
    label: str
    predicted: str
    confidence: float
    label_probability: float | None = None
    data: str = ""


class Averaged(Row):
    """How the randomness of one ingredient is averaged out at test time."""

    name: str
    draws: str  # what z is in training
    testing: str  # what testing does
    exact: Literal["exact", "approximate", "Monte Carlo"]


class RunReport(Row):
    """Everything that report.html shows of one run. Empty parts are left out of the page.

    split: which images `metrics` judges ("test", or "val" when there is no test split).
    data, cost, machine: label → text, printed as tables in this order.
    recipe: the resolved recipe as TOML. notes: sentences about decisions, as the log had them.
    """

    name: str
    split: str
    metrics: Metrics
    validation: Metrics | None = None
    steps: tuple[StepRow, ...] = ()
    evaluations: tuple[EvaluationRow, ...] = ()
    findings: tuple[Found, ...] | None = None  # None: not checked
    mistakes: tuple[MistakePicture, ...] = ()
    augmented: tuple[Picture, ...] = ()
    averaged: tuple[Averaged, ...] = ()
    data: dict[str, str] = {}
    cost: dict[str, str] = {}
    machine: dict[str, str] = {}
    recipe: str = ""
    notes: tuple[str, ...] = ()
    made: str = ""  # when, with which version: the last line of the page


class RunRow(Row):
    """One line of `goodfit runs`."""

    name: str
    state: Literal["finished", "running", "interrupted", "failed"]
    split: str = ""
    images: int | None = None
    accuracy: Interval | None = None
    seconds: float | None = None
    recipe: str = ""


class TuneCurve(Row):
    """Points to draw for one step of tuning: a line, or dots where each is a trial."""

    name: str
    points: tuple[tuple[float, float], ...]
    x_label: str = "step"
    log_x: bool = False
    dots: bool = False


class TuneStep(Row):
    """One of the seven steps: what was found, and why tuning went on as it did."""

    number: int
    name: str
    found: str
    onward: str = ""
    curves: tuple[TuneCurve, ...] = ()


class TrialRow(Row):
    """One trial of the search; `accuracy` is on the validation split."""

    number: int
    settings: dict[str, str]
    state: Literal["finished", "pruned", "failed", "running"]
    accuracy: float | None = None
    epochs: float | None = None
    seconds: float | None = None


class TuneReport(Row):
    """What the page of `goodfit tune` shows; `test` is the one look at the test split."""

    name: str
    steps: tuple[TuneStep, ...]
    trials: tuple[TrialRow, ...] = ()
    test: Metrics | None = None
    cost: dict[str, str] = {}
    recipe: str = ""  # the final one, as TOML
    notes: tuple[str, ...] = ()
    made: str = ""


class Arm(Row):
    """One arm of a comparison: what it changes, and what that changes.

    Differences are arm minus base: accuracy as a fraction, NLL and ECE as they are. p is
    Holm-adjusted over the arms. `seconds` and `memory` are ratios to the base.
    """

    name: str
    accuracy: Interval
    nll: Interval | None = None
    ece: Interval | None = None
    p: float | None = None
    verdict: Verdict = "undecided"
    seeds: int
    seeds_needed: int | None = None  # that would decide it
    seconds: float | None = None
    memory: float | None = None


class ComparisonReport(Row):
    """Everything that the page of `goodfit compare` shows."""

    name: str
    base: str
    base_accuracy: Interval
    delta: float  # accuracy differences smaller than this count as none
    level: float = 0.95
    images: int
    arms: tuple[Arm, ...]
    settings: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    made: str = ""
