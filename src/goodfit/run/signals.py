"""SIGTERM and Ctrl-C ask a run to stop; it does so between two steps."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Turns both signals into a question that the loop asks between two steps."""
    asked: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        if asked:  # a second Ctrl-C means now
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: the caller owns the signals
        old = {}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
