"""What is reported of an ensemble: a plain record (members.json), and as text."""

from goodfit.ensemble.diversity import Diversity
from goodfit.metrics import Interval, Metrics, Record
from goodfit.report.terminal import columns
from goodfit.report.words import SPLITS, between, digits_of, duration


class MemberScore(Record):
    """One member, alone. `accuracy`, `nll` and `ece` are on the reported split."""

    name: str
    run: str
    weights: str
    kept: bool  # False: a greedy soup left it out
    validation_accuracy: float
    accuracy: Interval
    nll: float
    ece: float
    seconds_per_image: float
    train_seconds: float | None


class EnsembleReport(Record):
    """An ensemble beside its members."""

    how: str
    split: str  # where figures come from: "test", or "val" where there is no test split
    members: tuple[MemberScore, ...]
    validation_accuracy: float
    metrics: Metrics
    best: str  # the member that is best on validation
    gain: Interval  # accuracy of the ensemble minus the best member's, paired by image
    diversity: Diversity
    seconds_per_image: float
    weight_bytes: int
    train_seconds: float | None
    notes: tuple[str, ...] = ()


def ensemble_text(report: EnsembleReport) -> str:
    """The report as aligned lines."""
    m, found = report.metrics, report.diversity
    head = ("member", "validation", f"accuracy on {SPLITS[report.split]}", "NLL", "ECE", "ms/image")
    rows = [
        (
            row.name + ("" if row.kept else " (left out)"),
            f"{row.validation_accuracy:.1%}",
            between(row.accuracy, digits_of(m)),
            f"{row.nll:.3f}",
            f"{row.ece:.3f}",
            f"{1e3 * row.seconds_per_image:.3g}",
        )
        for row in report.members
    ]
    own = m.calibration
    rows.append(
        (
            f"ensemble ({report.how})",
            f"{report.validation_accuracy:.1%}",
            between(m.accuracy, digits_of(m)),
            f"{own.nll.value:.3f}",
            f"{own.ece.value:.3f}",
            f"{1e3 * report.seconds_per_image:.3g}",
        )
    )
    g, related = report.gain, found.error_correlation
    correlation = "not defined" if related is None else f"{related:.2f}"
    lines = [
        f"gain over {report.best}, the best on validation: {100 * g.value:+.2f} points "
        f"({100 * g.low:+.2f} to {100 * g.high:+.2f})",
        f"diversity: members disagree on {found.disagreement:.1%}, correlation of errors "
        f"{correlation}, at least one is right on {found.any_right:.1%}",
    ]
    if m.scaled is not None and m.temperature is not None:
        lines.append(
            f"calibration: ECE {own.ece.value:.3f}, and {m.scaled.ece.value:.3f} at temperature "
            f"{m.temperature:.2f}, fitted on validation"
        )
    cost = f"cost: {report.weight_bytes / 1e6:.3g} MB of weights"
    if report.train_seconds is not None:
        cost += f", {duration(report.train_seconds)} of training in all"
    return "\n".join([columns(head, rows, right=(1, 3, 4, 5)), "", *lines, cost, *report.notes])
