"""The drawings of a report that are more than lines: confusion, calibration, intervals, forest."""

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from markupsafe import Markup, escape

from goodfit.metrics import Bin, Interval
from goodfit.report.svg import Scale, axes, box, dot, line, percent, svg, text, ticks

MOST_CLASSES = 40  # in a drawn confusion matrix


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Markup:
    """Rows are labels, columns predictions; a cell's depth is its share of the row.

    Right cells are blue, mistakes orange, so a faint mistake is still seen. Numbers are written
    where there is room for them; every cell has a tooltip.
    """
    k = len(classes)
    cell = max(14, min(46, 560 // max(k, 1)))
    margin = 20 + min(130, 6.6 * max(len(_cut(name)) for name in classes))
    top = 38 + 0.72 * (margin - 20)
    rows = matrix.sum(axis=1)
    body = [text(margin, 12, "predicted", "tick"), text(0, top - 8, "label", "tick")]
    for i, name in enumerate(classes):
        body.append(text(margin - 8, top + (i + 0.5) * cell + 4, _cut(name), "tick", "end"))
        turned = f"translate({margin + (i + 0.5) * cell + 4:g},{top - 6:g}) rotate(-45)"
        body.append(f'<text transform="{turned}" class="tick">{escape(_cut(name))}</text>')
    for i, j in np.ndindex(k, k):
        place, names = (margin + j * cell, top + i * cell), (classes[i], classes[j])
        body.append(_cell(*place, cell, int(matrix[i, j]), int(rows[i]), names, i == j))
    width, height = margin + k * cell + 60, top + k * cell + 6
    right = int(np.trace(matrix))
    return svg(width, height, f"Confusion matrix: {right} of {int(rows.sum())} right", body)


def _cell(
    x: float, y: float, side: float, count: int, row: int, names: tuple[str, str], right: bool
) -> str:
    share = count / row if row else 0.0
    depth = share if right else sqrt(share)
    said = f"{names[0]} predicted as {names[1]}: {count} of {row} ({share:.1%})"
    drawn = box(x, y, side - 1, side - 1, "cell", said)
    if count:
        color, opacity = "a" if right else "b", 0.08 + 0.92 * depth
        drawn += box(x, y, side - 1, side - 1, f"fill {color}", said, opacity)
        if side >= 22:
            css = "count deep" if depth > 0.55 else "count"
            drawn += text(x + (side - 1) / 2, y + side / 2 + 4, count, css, "middle")
    return drawn


def _cut(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _minus(said: str) -> str:
    return said.replace("-", "\N{MINUS SIGN}")


def confused_pairs(
    matrix: np.ndarray, classes: Sequence[str], most: int = 20
) -> list[tuple[str, str, int, int]]:
    """The most frequent mistakes: (label, predicted, images, images of the label)."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(i), len(classes)) for i in order]
    rows = matrix.sum(axis=1)
    return [
        (classes[i], classes[j], int(wrong[i, j]), int(rows[i])) for i, j in cells if wrong[i, j]
    ]


def reliability(bins: Sequence[Bin], title: str, color: str = "a", size: int = 360) -> Markup:
    """Accuracy against confidence; the diagonal is perfect. Bars below show where images are."""
    x, y = Scale(0, 1, 52, size - 22), Scale(0, 1, size - 42 - 50, 24)
    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    foot = size - 42
    body = axes(x, y._replace(begin=foot), "confidence", marks, [], percent, percent)
    for mark in marks:
        body.append(line(x.begin, y(mark), x.end, y(mark), "grid"))
        body.append(text(x.begin - 8, y(mark) + 4, percent(mark), "tick", "end"))
    body.append(text(x.begin - 44, 11, "accuracy", "tick"))
    body.append(line(x(0), y(0), x(1), y(1), "ideal"))
    most = max(b.images for b in bins) or 1
    points = []
    for b in bins:
        if b.accuracy is None or b.confidence is None:
            continue
        height, at = 36 * b.images / most, x(b.confidence)
        said = f"{b.images} images, {b.confidence:.1%} sure, {b.accuracy.value:.1%} right"
        left, width = x(b.low) + 1, x(b.high) - x(b.low) - 2
        body.append(box(left, foot - height, width, height, "fill muted", said))
        body.append(line(at, y(b.accuracy.low), at, y(b.accuracy.high), f"whisker {color}"))
        body.append(dot(at, y(b.accuracy.value), 3.4, color, said))
        points.append(f"{at:g},{y(b.accuracy.value):g}")
    body.append(f'<polyline points="{" ".join(points)}" class="thin {color}"/>')
    return svg(size, size, title, body)


def interval_bar(
    value: Interval, low: float = 0.0, high: float = 1.0, *, color: str = "a", width: int = 150
) -> Markup:
    """One interval on a bare axis, to stand in a table."""
    x = Scale(low, high, 4, width - 4)
    a, b, middle = x(max(low, value.low)), x(min(high, value.high)), x(value.value)
    body = [
        line(4, 9, width - 4, 9, "grid"),
        line(a, 9, b, 9, f"whisker {color}"),
        dot(middle, 9, 3.4, color),
    ]
    return svg(
        width,
        18,
        f"{value.value:.1%}, from {value.low:.1%} to {value.high:.1%}",
        body,
        css="inline",
    )


def forest(
    rows: Sequence[tuple[str, Interval, str, str]],
    delta: float,
    title: str,
    show: Callable[[float], str] = lambda v: f"{100 * v:+.2f}",
    x_label: str = "difference in accuracy, percentage points",
) -> Markup:
    """A forest plot: name, difference with interval, color and what is said of each arm.

    The shaded strip is -delta..delta, where differences count as none.
    """
    ends = [v for _, i, _, _ in rows for v in (i.low, i.high)] + [-1.5 * delta, 1.5 * delta]
    slack = (max(ends) - min(ends)) * 0.04
    width, top, step = 960, 16, 30
    foot = top + step * len(rows) + 8
    x = Scale(min(ends) - slack, max(ends) + slack, 210, width - 270)
    y = Scale(0, 1, foot, top)
    body = [box(x(-delta), top, x(delta) - x(-delta), foot - top, "strip")]
    body += axes(
        x,
        y,
        x_label,
        ticks(x.low, x.high, 6),
        [],
        lambda v: _minus(f"{100 * v:+.6g}") if v else "0",
    )
    body.append(line(x(0), top, x(0), foot, "zero"))
    for place, (name, value, color, said) in enumerate(rows):
        middle = top + step * (place + 0.5) + 4
        body.append(f"<g><title>{escape(name)}: {escape(said)}</title>")
        body.append(text(x.begin - 14, middle + 4, _cut(name, 30), "name", "end"))
        body.append(line(x(value.low), middle, x(value.high), middle, f"whisker {color}"))
        body += [
            line(x(e), middle - 4, x(e), middle + 4, f"whisker {color}")
            for e in (value.low, value.high)
        ]
        body.append(box(x(value.value) - 4.5, middle - 4.5, 9, 9, f"fill square {color}"))
        figures = f"{show(value.value)} ({show(value.low)} to {show(value.high)})"
        figures = f"{_minus(figures)}  {said}"
        body.append(text(x.end + 14, middle + 4, figures, "figure"))
        body.append("</g>")
    return svg(width, foot + 44, title, body, css="wide")
