"""How reports write figures."""

from goodfit.metrics import Interval, Metrics

SPLITS = {"test": "test", "val": "validation", "train": "training"}


def percent(value: float, digits: int = 1) -> str:
    """A share in percent, with more digits where it would otherwise look like all or nothing."""
    while digits < 4 and 0 < value < 1 and round(value, digits + 2) in (0, 1):
        digits += 1
    return f"{value:.{digits}%}"


def certainty(value: float) -> str:
    """A probability of a single prediction, whose fourth digit interests nobody."""
    return "> 99.9%" if value > 0.999 else "< 0.1%" if value < 0.001 else f"{value:.1%}"


def between(value: Interval, digits: int = 1) -> str:
    """A share with its interval: 96.4% (93.9% to 97.9%)."""
    low, high = percent(value.low, digits), percent(value.high, digits)
    return f"{percent(value.value, digits)} ({low} to {high})"


def digits_of(metrics: Metrics) -> int:
    """Digits of a percentage that this many images can carry."""
    return 1 if metrics.images < 2000 else 2


def duration(seconds: float) -> str:
    """4 min 51 s; seconds with a decimal below a minute."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plain(said: str) -> str:
    """Text without control characters: a class called '\\x1b[2J' cannot clear the screen."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
