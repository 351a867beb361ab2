"""Pages of a run and of a comparison: one file each, nothing loaded from elsewhere, no script.

Figures come with their intervals first. Names of classes and files are escaped by the templates,
and the page's own security policy allows no script and no address.
"""

from functools import cache
from math import floor

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from goodfit.metrics import Calibration, ClassScore
from goodfit.report import plots
from goodfit.report.records import Arm, ComparisonReport, RunReport, TuneCurve, TuneReport
from goodfit.report.svg import Series, line_chart, summarized
from goodfit.report.words import SPLITS, between, certainty, digits_of, duration, percent

MOST_ROWS = 40  # classes shown without unfolding
COLORS = {"helps": "good", "hurts": "bad", "no difference": "", "undecided": ""}


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("goodfit.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def run_html(run: RunReport) -> str:
    """The report of one run as a page."""
    metrics = run.metrics
    digits = digits_of(metrics)
    split = SPLITS.get(run.split, run.split)
    curves, drawn = _curves(run), _confusion(run)
    worst, others = _classes(run)
    shown = [found for found in run.findings or () if not found.because]
    sections = [
        ("findings", "Findings", run.findings is not None),
        ("curves", "Training", bool(curves)),
        ("calibration", "Calibration", True),
        ("confusion", "Confusion", True),
        ("classes", "Classes", True),
        ("mistakes", "Mistakes", bool(run.mistakes)),
        ("augmented", "Augmentation", bool(run.augmented)),
        ("averaged", "Randomness", bool(run.averaged)),
        ("cost", "Cost", bool(run.data or run.cost or run.machine)),
        ("recipe", "Recipe", bool(run.recipe)),
    ]
    return (
        _pages()
        .get_template("run.html.j2")
        .render(
            run=run,
            metrics=metrics,
            split_word=split,
            level=f"{metrics.level:.0%}",
            right=round(metrics.accuracy.value * metrics.images),
            warnings=_warnings(run),
            tiles=_tiles(run),
            sections=sections,
            shown=shown,
            folded=len(run.findings or ()) - len(shown),
            curves=curves,
            reliability=_reliability(run),
            calibration_said=_believed(metrics.calibration, metrics.scaled),
            confusion=drawn,
            pairs=plots.confused_pairs(
                metrics.confusion_matrix(), metrics.classes, 12 if drawn else 30
            ),
            worst_classes=worst,
            other_classes=others,
            least=_least(metrics.per_class),
            pct=lambda value, places=digits: percent(value, places),
            sure=certainty,
            fig=lambda value: f"{value:.4f}",
            bar=plots.interval_bar,
        )
    )


def _least(rows: tuple[ClassScore, ...]) -> float:
    """Where the axis of the classes' intervals begins: below all of them, at a whole tenth."""
    lows = [i.low for c in rows for i in (c.recall, c.precision) if i]
    return floor(min(lows) * 10) / 10


def _warnings(run: RunReport) -> list[str]:
    """What a reader must know before she trusts the figures."""
    said = []
    if run.split == "val":
        said.append(
            "There is no test split: these validation images also guided the training, so the "
            "figures are likely too good."
        )
    if run.metrics.images < 100:
        said.append(f"Only {run.metrics.images} images were tested: the intervals are wide.")
    return said


def _tiles(run: RunReport) -> list[tuple[str, str, str]]:
    """The figures beside the accuracy: name, value, interval."""
    m = run.metrics
    tiles = []
    if m.top5:
        tiles.append(
            (
                "top-5 accuracy",
                percent(m.top5.value),
                f"{percent(m.top5.low)} to {percent(m.top5.high)}",
            )
        )
    tiles.append(("mean recall", percent(m.balanced_accuracy), f"macro F1 {m.macro_f1:.3f}"))
    best = m.scaled or m.calibration
    name = "ECE after scaling" if m.scaled else "ECE"
    tiles.append((name, f"{best.ece.value:.1%}", f"{best.ece.low:.1%} to {best.ece.high:.1%}"))
    nll = best.nll
    tiles.append(
        (
            "NLL after scaling" if m.scaled else "NLL",
            f"{nll.value:.3f}",
            f"{nll.low:.3f} to {nll.high:.3f}",
        )
    )
    tiles += [(name, said, "") for name, said in list(run.cost.items())[: 6 - len(tiles)]]
    return tiles


def _curves(run: RunReport) -> list[tuple[str, Markup]]:
    losses, band = summarized([(s.epoch, s.loss) for s in run.steps])
    val = [(e.epoch, e.val_loss) for e in run.evaluations]
    lines = [
        Series("training", "a", losses, band),
        Series("validation", "b", val, marks=len(val) < 30),
    ]
    drawn = [("Loss", line_chart("Loss", lines))]
    accuracy = [(e.epoch, e.val_accuracy) for e in run.evaluations]
    lines = [Series("validation", "b", accuracy, marks=len(accuracy) < 30)]
    train = [(e.epoch, e.train_accuracy) for e in run.evaluations if e.train_accuracy is not None]
    lines += [Series("training", "a", train)] if train else []
    drawn.append(("Accuracy", line_chart("Accuracy", lines, shares=True)))
    rate = summarized([(s.epoch, s.lr) for s in run.steps])[0]
    drawn.append(
        ("Learning rate", line_chart("Learning rate", [Series("lr", "a", rate)], height=200))
    )
    norms = [(s.epoch, s.grad_norm) for s in run.steps if s.grad_norm is not None]
    means, band = summarized(norms)
    chart = line_chart(
        "Gradient norm", [Series("norm before clipping", "a", means, band)], log=True, height=200
    )
    drawn.append(("Gradient norm", chart))
    return [(name, chart) for name, chart in drawn if chart]


def _reliability(run: RunReport) -> list[tuple[str, Markup]]:
    m = run.metrics
    drawn = [("As trained", plots.reliability(m.calibration.bins, "Reliability as trained", "b"))]
    if m.scaled:
        drawn.append(
            (
                "After temperature scaling",
                plots.reliability(m.scaled.bins, "Reliability after scaling"),
            )
        )
    return drawn


def _believed(raw: Calibration, scaled: Calibration | None) -> str:
    """The calibration in words."""
    filled = [b for b in raw.bins if b.accuracy and b.confidence is not None]
    gap = sum(b.images * ((b.confidence or 0) - b.accuracy.value) for b in filled if b.accuracy)
    gap /= sum(b.images for b in filled)
    if raw.ece.low == 0:
        said = "As trained, confidence and accuracy agree as well as this many images can tell."
    else:
        side = "more" if gap > 0 else "less"
        said = (
            f"As trained, the net is on average {100 * abs(gap):.1f} percentage "
            f"points {side} confident than it is right."
        )
    if scaled is not None and raw.ece.low > 0:
        better = scaled.ece.value < raw.ece.value
        said += f" Temperature scaling {'brings' if better else 'does not help: it brings'}"
        said += f" the ECE from {raw.ece.value:.1%} to {scaled.ece.value:.1%}."
    return said


def _confusion(run: RunReport) -> Markup | None:
    classes = run.metrics.classes
    if len(classes) > plots.MOST_CLASSES:
        return None
    return plots.confusion(run.metrics.confusion_matrix(), classes)


def _classes(run: RunReport) -> tuple[list[ClassScore], list[ClassScore]]:
    """The classes in their order, or where there are many, the worst first and the rest."""
    rows = list(run.metrics.per_class)
    if len(rows) <= MOST_ROWS:
        return rows, []
    rows.sort(key=lambda c: c.recall.value if c.recall else 2.0)
    return rows[: MOST_ROWS // 2], rows[MOST_ROWS // 2 :]


def tune_html(tune: TuneReport) -> str:
    """The page of a search for hyperparameters: the steps in words, the trials, the recipe."""
    finished = [t for t in tune.trials if t.accuracy is not None]
    ranked = sorted(finished, key=lambda t: -(t.accuracy or 0.0))
    rest = [t for t in tune.trials if t.accuracy is None]
    best, lead = 0.0, []
    for place, trial in enumerate(finished, 1):
        best = max(best, trial.accuracy or 0.0)
        lead.append((float(place), best))
    each = [(float(place), t.accuracy or 0.0) for place, t in enumerate(finished, 1)]
    series = [Series("best so far", "a", lead), Series("trials", "b", each, joined=False)]
    return (
        _pages()
        .get_template("tune.html.j2")
        .render(
            run=tune,
            plots={step.number: [(c.name, _tuned(c)) for c in step.curves] for step in tune.steps},
            progress=line_chart("Search", series, x_label="trial", shares=True) if lead else "",
            trials=(ranked + rest)[:MOST_ROWS],
            more=max(0, len(tune.trials) - MOST_ROWS),
            names=list(dict.fromkeys(name for t in tune.trials for name in t.settings)),
            best=ranked[0] if ranked else None,
            between=between,
            duration=duration,
            pct=percent,
        )
    )


def _tuned(curve: TuneCurve) -> Markup:
    series = Series(curve.name, "a", curve.points, joined=not curve.dots)
    return line_chart(curve.name, [series], x_label=curve.x_label, log_x=curve.log_x, height=220)


def comparison_html(comparison: ComparisonReport) -> str:
    """The page of a comparison, with its forest plot."""
    kinds = {"helps": "good", "hurts": "bad", "no difference": "a", "undecided": "muted"}
    rows = [(a.name, a.accuracy, kinds[a.verdict], a.verdict) for a in comparison.arms]
    return (
        _pages()
        .get_template("comparison.html.j2")
        .render(
            run=comparison,
            level=f"{comparison.level:.0%}",
            plot=plots.forest(rows, comparison.delta, f"Forest plot of {len(rows)} arms"),
            sentences=_verdicts(comparison.arms),
            colors=COLORS,
            pct=lambda value: f"{value:.2%}",
            points=_points,
            signed=lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}"),
            p_value=lambda p: "" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001",
        )
    )


def _points(value: float, signed: bool = False) -> str:
    """A difference of fractions in percentage points."""
    return f"{100 * value:{'+' if signed else ''}.2f}".replace("-", "\N{MINUS SIGN}")


def _verdicts(arms: tuple[Arm, ...]) -> list[tuple[str, str]]:
    """Each verdict with the arms that got it."""
    named = {verdict: [a.name for a in arms if a.verdict == verdict] for verdict in COLORS}
    return [(verdict, ", ".join(names)) for verdict, names in named.items() if names]


def written(page: str) -> bytes:
    """A page as bytes; lone surrogates in file names do not stop it."""
    return page.encode("utf-8", "backslashreplace")
