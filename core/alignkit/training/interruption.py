"""Notes SIGTERM, so that the step in progress ends and is saved before the run stops."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """SIGTERM came; the checkpoint is written."""


@contextmanager
def sigterm_noted() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether SIGTERM came, instead of dying of it."""
    received: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    except ValueError:  # not the main thread, which alone may handle signals
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
