"""Reports: whole pages from plain records, safe with any name, small with any number of classes."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import torch
from PIL import Image

from goodfit.metrics import Interval, Metrics, evaluate
from goodfit.report.html import comparison_html, run_html, tune_html, written
from goodfit.report.pictures import picture
from goodfit.report.plots import confused_pairs
from goodfit.report.records import (
    Arm,
    Averaged,
    ComparisonReport,
    EvaluationRow,
    Found,
    MistakePicture,
    Picture,
    RunReport,
    RunRow,
    StepRow,
    TrialRow,
    TuneCurve,
    TuneReport,
    TuneStep,
)
from goodfit.report.svg import Scale, Series, line_chart, log_ticks, summarized, svg_file, ticks
from goodfit.report.terminal import (
    class_text,
    columns,
    comparison_text,
    metrics_text,
    runs_text,
    show,
    summary_text,
)
from goodfit.report.words import between, duration, percent

HOSTILE = "<script>alert('x')</script>\"&\x1b[2J"
VOID = {"meta", "img", "br", "link", "input", "hr"}


def judged(
    n: int = 60, k: int = 3, classes: list[str] | None = None, t: float | None = 1.5
) -> Metrics:
    generator = np.random.default_rng(0)
    y = generator.integers(k, size=n)
    p = np.exp(generator.normal(size=(n, k)) + 2 * np.eye(k)[y])
    names = classes or [f"class {i}" for i in range(k)]
    return evaluate(p / p.sum(axis=1, keepdims=True), y, names, temperature=t)


@pytest.fixture(scope="module")
def full() -> RunReport:
    metrics = judged(classes=[HOSTILE, "bee", "cat"])
    image = picture(torch.rand(3, 8, 8))
    return RunReport(
        name=HOSTILE,
        split="test",
        metrics=metrics,
        steps=tuple(
            StepRow(step=i, epoch=i / 100, loss=2 / (i + 1), lr=0.1, grad_norm=1.0)
            for i in range(500)
        ),
        evaluations=(EvaluationRow(step=500, epoch=5, val_accuracy=0.9, val_loss=0.3),),
        findings=(
            Found(
                rule="dead-units",
                severity="warning",
                where=HOSTILE,
                evidence={"a": HOSTILE},
                fix="b",
            ),
            Found(rule="folded", severity="advice", because="dead-units"),
        ),
        mistakes=(
            MistakePicture(
                name=HOSTILE, label=HOSTILE, predicted="bee", confidence=0.9999, data=image
            ),
            MistakePicture(name="gone.jpg", label="bee", predicted=HOSTILE, confidence=0.8),
        ),
        augmented=(Picture(data=image, alt=HOSTILE, lines=("flipped",)),),
        averaged=(Averaged(name=HOSTILE, draws="z", testing="both", exact="exact"),),
        data={"source": HOSTILE},
        cost={"training time": "3 s"},
        machine={"cores": "2"},
        recipe=f"# {HOSTILE}",
        notes=(HOSTILE,),
        made=HOSTILE,
    )


class Balanced(HTMLParser):
    """Every element is closed in order; collects tags and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def comparison() -> ComparisonReport:
    def arm(name: str, value: float, verdict: str, **more) -> Arm:
        interval = Interval(value=value, low=value - 0.01, high=value + 0.01)
        return Arm(name=name, accuracy=interval, verdict=verdict, seeds=5, **more)

    return ComparisonReport(
        name=HOSTILE,
        base=HOSTILE,
        base_accuracy=Interval(value=0.9, low=0.88, high=0.92),
        delta=0.002,
        images=1000,
        arms=(
            arm(HOSTILE, 0.02, "helps", p=0.0001, seconds=1.1),
            arm("--without cutout", -0.03, "hurts", nll=Interval(value=0.1, low=0.05, high=0.15)),
            arm("--with mixup", 0.001, "undecided", seeds_needed=40),
        ),
    )


def tuning() -> TuneReport:
    search = TuneCurve(
        name=HOSTILE,
        points=((1e-4, 2.0), (1e-2, 1.0), (1.0, float("nan"))),
        x_label="lr",
        log_x=True,
    )
    return TuneReport(
        name=HOSTILE,
        steps=(
            TuneStep(number=1, name="initial loss", found="2.31, as ln 10 says", onward=HOSTILE),
            TuneStep(number=3, name="learning rate", found="0.1", curves=(search,)),
        ),
        trials=(
            TrialRow(number=0, settings={"lr": HOSTILE}, state="finished", accuracy=0.8, seconds=3),
            TrialRow(number=1, settings={"lr": "2"}, state="pruned", accuracy=0.3, epochs=1),
            TrialRow(number=2, settings={"decay": "0"}, state="failed"),
        ),
        test=judged(),
        recipe=HOSTILE,
    )


PAGES = {
    "run": run_html,
    "comparison": lambda _: comparison_html(comparison()),
    "tuning": lambda _: tune_html(tuning()),
}


@pytest.mark.parametrize("which", PAGES)
def test_a_page_is_whole_and_needs_nothing_from_elsewhere(full, which):
    page = PAGES[which](full)
    seen = Balanced(page)
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert all(a.startswith(("data:image/", "#")) for a in seen.addresses)
    assert "http" not in re.sub(r'http-equiv="', "", page)
    assert "&lt;script&gt;alert" in page
    assert written(page).decode() == page


def test_tuning_shows_the_best_trial_first():
    page = tune_html(tuning())
    assert page.index("80.0%") < page.index("30.0%")
    assert "looked at once" in page
    assert "too good" in tune_html(tuning().model_copy(update={"test": None}))


def test_every_link_leads_somewhere(full):
    page = run_html(full)
    for target in re.findall(r'href="#(\w+)"', page):
        assert f'id="{target}"' in page


def test_what_there_is_not_is_left_out():
    page = run_html(RunReport(name="bare", split="test", metrics=judged(t=None)))
    Balanced(page)
    for absent in ("Findings", "Training<", "What the net saw", "recipe.toml", "after scaling"):
        assert absent not in page


def test_the_accuracy_comes_first_with_its_interval(full):
    page, m = run_html(full), full.metrics
    assert page.index(f"{m.accuracy.value:.1%}</b>") < page.index("<svg")
    assert f"95% interval {m.accuracy.low:.1%} to {m.accuracy.high:.1%}" in page


def test_validation_images_are_not_sold_as_a_test():
    run = RunReport(name="r", split="val", metrics=judged())
    assert "There is no test split" in run_html(run)
    assert "There is no test split" not in run_html(run.model_copy(update={"split": "test"}))


def test_few_images_are_called_few(full):
    assert "Only 60 images" in run_html(full)


def test_symptoms_are_folded_under_their_cause(full):
    page = run_html(full)
    assert "1 more is explained" in page
    assert "folded</h3>" not in page


def test_a_check_without_findings_says_so(full):
    assert "found nothing" in run_html(full.model_copy(update={"findings": ()}))
    assert "found nothing" not in run_html(full.model_copy(update={"findings": None}))


def test_a_thousand_classes_are_summarized():
    metrics = judged(3000, 1000)
    page = run_html(RunReport(name="many", split="test", metrics=metrics))
    Balanced(page)
    assert "The other 980 classes" in page
    assert "Confusion matrix:" not in page
    assert len(page) < 1_500_000


@pytest.mark.parametrize("k", [1, 2, 40])
def test_confusion_is_drawn_for_few_classes(k):
    metrics = judged(50, k)
    page = run_html(RunReport(name="few", split="test", metrics=metrics))
    assert f"Confusion matrix: {round(metrics.accuracy.value * 50)} of 50 right" in page


def test_confused_pairs_are_sorted_and_leave_the_diagonal_out():
    pairs = confused_pairs(np.array([[9, 1, 0], [4, 5, 0], [0, 0, 9]]), ["a", "b", "c"])
    assert pairs == [("b", "a", 4, 9), ("a", "b", 1, 10)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [1, 30, 400])
@pytest.mark.parametrize("floating", [False, True])
def test_pictures_of_any_shape(channels, side, floating):
    image = torch.rand(channels, side, side * 2)
    made = picture(image if floating else (image * 255).byte())
    head, _, data = made.partition(",")
    opened = Image.open(BytesIO(b64decode(data)))
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    width = side * 2 * (max(1, 160 // (side * 2)) if side * 2 <= 64 else 1)
    assert opened.size == (min(160, width), min(80, width // 2))


def test_tiny_pictures_show_their_pixels_as_squares():
    image = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
    drawn = np.asarray(Image.open(BytesIO(b64decode(picture(image).partition(",")[2]))))
    squares = image.numpy().repeat(20, axis=1).repeat(20, axis=2)
    assert (drawn.transpose(2, 0, 1) == squares).all()


def test_a_picture_with_nan_is_a_picture():
    assert picture(torch.full((3, 4, 4), float("nan"))).startswith("data:image/png")


def test_a_drawing_can_be_a_file_of_its_own():
    chart = line_chart("a < b", [Series("<s>", "a", [(0.0, 1.0), (1.0, 2.0)])])
    root = fromstring(svg_file(chart))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--a)" in root[0].text


def test_losses_that_are_not_finite_leave_a_gap():
    points = [(0.0, 1.0), (1.0, float("nan")), (2.0, float("inf")), (3.0, 0.5)]
    chart = line_chart("Loss", [Series("training", "a", points)])
    assert "nan" not in chart
    assert "inf" not in chart
    assert line_chart("Loss", [Series("training", "a", [(0.0, float("nan"))])]) == ""


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-12, 1e12])
def test_a_constant_can_be_drawn(value):
    assert "<svg" in line_chart("flat", [Series("s", "a", [(0.0, value), (1.0, value)])])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.61, 0.95), (-3e-5, 2e-5), (0, 29.97), (5, 5)])
def test_ticks_are_few_round_and_inside(low, high):
    made = ticks(low, high)
    assert 1 <= len(made) <= 7
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in made)


@pytest.mark.parametrize(("low", "high"), [(1e-5, 1), (0.3, 4), (2, 3), (1e-30, 1e30)])
def test_log_ticks_are_few_and_inside(low, high):
    assert 1 <= len(log_ticks(low, high)) <= 8


def test_a_log_scale_puts_the_geometric_mean_in_the_middle():
    assert Scale(0.1, 10, 0, 100, log=True)(1) == 50


def test_many_points_become_means_with_their_range():
    means, band = summarized([(float(i), float(i % 2)) for i in range(1000)], parts=10)
    assert len(means) == 10
    assert means[0] == (50.0, 0.5)
    assert band[0] == (50.0, 0.0, 1.0)


def test_columns_are_aligned():
    assert columns(("a", "bb"), [("long", "1")], right=(1,)) == "a     bb\nlong   1"


def test_control_characters_do_not_reach_the_terminal():
    text = metrics_text(judged(classes=[HOSTILE, "b", "c"]), "test")
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


def test_the_summary_begins_with_the_accuracy(full):
    text = summary_text(full, "runs/a/report.html")
    assert text.startswith("accuracy")
    assert between(full.metrics.accuracy) in text.splitlines()[0]
    assert "1 warning" in text
    assert text.endswith("runs/a/report.html")


def test_of_many_classes_the_weakest_are_listed():
    lines = class_text(judged(2000, 200)).splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("180 more classes")


def test_runs_are_listed_best_first():
    better, worse = (Interval(value=v, low=v, high=v) for v in (0.9, 0.8))
    rows = [
        RunRow(name="x", state="interrupted"),
        RunRow(name="y", state="finished", split="test", images=9, accuracy=worse, seconds=70),
        RunRow(name="z", state="finished", split="val", images=9, accuracy=better, seconds=7),
    ]
    lines = runs_text(rows).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["z", "y", "x"]
    assert lines[3].startswith("interrupted")


def test_a_comparison_says_verdicts_with_what_decides():
    text = comparison_text(comparison())
    assert "undecided (40 seeds would decide)" in text
    assert "-3.00 (-4.00 to -2.00)" in text


def test_a_pipe_gets_plain_lines(capsys):
    show("head\nrest")
    assert capsys.readouterr().out == "head\nrest\n"


@pytest.mark.parametrize(
    ("value", "said"), [(1.0, "100.0%"), (0.9999, "99.99%"), (0.5, "50.0%"), (0.0, "0.0%")]
)
def test_only_all_is_called_all(value, said):
    assert percent(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.14, "3.1 s"), (291, "4 min 51 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
