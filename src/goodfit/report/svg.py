"""Drawings as inline SVG: axes with round ticks, lines, bars of intervals. No script, no font.

Colors are CSS classes of the page (`a`, `b` for the two series, `grid`, `axis`, `muted`), so a
drawing follows the page into dark mode and onto paper. Every text is escaped here.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from markupsafe import Markup, escape

Point = tuple[float, float]


class Series(NamedTuple):
    """A line: its name, its CSS class, its points, and optionally a band around it."""

    name: str
    color: str  # "a", "b" or "muted"
    points: Sequence[Point]
    band: Sequence[tuple[float, float, float]] = ()  # x, low, high
    marks: bool = False
    joined: bool = True  # by a line; otherwise dots alone


class Scale(NamedTuple):
    """From values low..high to pixels begin..end, logarithmic if wanted."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (log10(max(v, 1e-300)) for v in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.begin + share * (self.end - self.begin), 1)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between low and high, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** floor(log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between low and high, finer where there are few of them."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5)):
        marks = [f * 10.0**d for d in decades for f in factors]
        marks = [m for m in marks if low * 0.999 <= m <= high * 1.001]
        if len(marks) >= 3:
            return marks[:: ceil(len(marks) / 7)]
    return [mark for mark in ticks(low, high) if mark > 0]


def number(value: float) -> str:
    """A short way to write a tick."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-4):
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def percent(value: float) -> str:
    """A tick on an axis of shares."""
    return f"{100 * value:.6g}%".replace("-", "\N{MINUS SIGN}")


def svg(width: float, height: float, title: str, body: Iterable[str], *, css: str = "") -> Markup:
    """An SVG element that screen readers call `title`."""
    head = f'<svg viewBox="0 0 {width:g} {height:g}" class="plot {css}" role="img"'
    head += f' style="max-width:{width:g}px" aria-label="{escape(title)}">'
    return Markup(f"{head}<title>{escape(title)}</title>{''.join(body)}</svg>")


def svg_file(drawing: Markup) -> str:
    """A drawing as a file of its own, with the colors of the page."""
    css = files("goodfit.report").joinpath("pages/plot.css").read_text("utf-8")
    css += "svg { background: var(--ground); }"
    named = str(drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return named.replace("<title>", f"<style>{css}</style><title>", 1) + "\n"


def text(x: float, y: float, said: object, css: str = "", anchor: str = "start") -> str:
    """A piece of text, escaped."""
    return f'<text x="{x:g}" y="{y:g}" class="{css}" text-anchor="{anchor}">{escape(said)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{css}"/>'


def dot(x: float, y: float, radius: float, css: str, said: str = "") -> str:
    """A filled circle, with a tooltip if it says something."""
    head = f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" class="dot {css}"'
    return f"{head}><title>{escape(said)}</title></circle>" if said else head + "/>"


def box(
    x: float, y: float, width: float, height: float, css: str, said: str = "", opacity: float = 1
) -> str:
    """A filled rectangle, with a tooltip if it says something."""
    head = f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" class="{css}"'
    head += f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
    return f"{head}><title>{escape(said)}</title></rect>" if said else head + "/>"


def axes(
    x: Scale,
    y: Scale,
    x_label: str,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    show_x: Callable[[float], str] = number,
    show_y: Callable[[float], str] = number,
) -> list[str]:
    """Grid lines, tick labels and the label of the x axis."""
    drawn = []
    for mark in y_ticks:
        drawn.append(line(x.begin, y(mark), x.end, y(mark), "grid"))
        drawn.append(text(x.begin - 8, y(mark) + 4, show_y(mark), "tick", "end"))
    drawn.append(line(x.begin, y.begin, x.end, y.begin, "axis"))
    for mark in x_ticks:
        drawn.append(line(x(mark), y.begin, x(mark), y.begin + 4, "axis"))
        drawn.append(text(x(mark), y.begin + 18, show_x(mark), "tick", "middle"))
    drawn.append(text((x.begin + x.end) / 2, y.begin + 36, x_label, "tick", "middle"))
    return drawn


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str = "epoch",
    shares: bool = False,
    log: bool = False,
    log_x: bool = False,
    width: int = 480,
    height: int = 250,
) -> Markup:
    """Lines over a common x axis. Values that are not finite leave gaps."""
    series = [_finite(s, log, log_x) for s in series]
    series = [s for s in series if s.points]
    if not series:
        return Markup("")
    values = [
        v for s in series for v in (*(p[1] for p in s.points), *(b for r in s.band for b in r[1:]))
    ]
    low, high = min(values), max(values)
    if low == high:
        low, high = (
            (low / 2, high * 2) if log else (low - abs(low) / 2 - 1e-9, high + abs(high) / 2 + 1e-9)
        )
    elif not log:
        slack = (high - low) * 0.05
        low, high = (0.0 if 0 <= low < 0.4 * high else low - slack), high + slack
        high = min(high, 1.0) if shares else high
    places = [p[0] for s in series for p in s.points]
    x = Scale(min(places), max(places), 58, width - 14, log_x)
    y = Scale(low, high, height - 42, 34, log)
    x_ticks = log_ticks(x.low, x.high) if log_x else ticks(x.low, x.high, 6)
    y_ticks = log_ticks(low, high) if log else ticks(low, high)
    body = axes(x, y, x_label, x_ticks, y_ticks, number, percent if shares else number)
    left = x.begin
    for s in series:
        body += _drawn(s, x, y)
        key = line(left, 14, left + 16, 14, f"line {s.color}")
        body.append(key if s.joined else dot(left + 8, 14, 2.6, s.color))
        body.append(text(left + 22, 18, s.name, "key"))
        left += 46 + 7 * len(s.name)
    last = ", ".join(
        f"{s.name} ends at {(percent if shares else number)(_short(s.points[-1][1]))}"
        for s in series
    )
    return svg(width, height, f"{title}: {last}", body)


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _finite(s: Series, log: bool, log_x: bool) -> Series:
    def holds(x: float, *values: float) -> bool:
        shown = all(map(isfinite, (x, *values)))
        return shown and (not log or min(values) > 0) and (not log_x or x > 0)

    return s._replace(
        points=[p for p in s.points if holds(*p)], band=[r for r in s.band if holds(*r)]
    )


def _drawn(s: Series, x: Scale, y: Scale) -> list[str]:
    drawn = []
    if s.band:
        there = [f"{x(a):g},{y(high):g}" for a, _, high in s.band]
        back = [f"{x(a):g},{y(low):g}" for a, low, _ in reversed(s.band)]
        drawn.append(f'<polygon points="{" ".join(there + back)}" class="band {s.color}"/>')
    if s.joined:
        path = " ".join(f"{x(a):g},{y(b):g}" for a, b in s.points)
        drawn.append(f'<polyline points="{path}" class="line {s.color}"/>')
    if s.marks or not s.joined or len(s.points) == 1:
        drawn += [dot(x(a), y(b), 2.6, s.color) for a, b in s.points]
    return drawn


def summarized(
    points: Sequence[Point], parts: int = 160
) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """Many points as means over `parts` stretches, and the range within each of them."""
    if len(points) <= parts:
        return list(points), []
    cuts = [round(i * len(points) / parts) for i in range(parts + 1)]
    means, band = [], []
    for a, b in pairwise(cuts):
        values = [v for _, v in points[a:b] if isfinite(v)]
        if values:
            place = points[(a + b) // 2][0]
            means.append((place, sum(values) / len(values)))
            band.append((place, min(values), max(values)))
    return means, band
