"""Estimates how long a training stage still takes, from what its parts took in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from alignkit.progress import mean_of_newest

STEP, DRAW, MEASURE, SAVE, PREVIEW = "step", "draw", "measure", "save", "preview"
"""The parts of a stage: an optimizer step without the rest; drawing, scoring and preparing a batch of samples;
a measurement on held-out data; a checkpoint; previews."""


class TimeLeft:
    """What each part took, the oldest first, in seconds.

    Parts are timed apart because most of them are not in every step: the mean over some steps would be wrong
    by how many of them these steps have. clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.took: dict[str, list[float]] = {}

    def add(self, part: str, seconds: float) -> None:
        """Note how long a part took."""
        self.took.setdefault(part, []).append(seconds)

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Time a part."""
        began = self.clock()
        yield
        self.add(part, self.clock() - began)

    def seconds(
        self, to_come: Mapping[str, int], guesses: Mapping[str, float] | None = None
    ) -> float | None:
        """Return the seconds that the rest takes; None before the first step.

        to_come: how often each part is still to be done. guesses: seconds of a part that was not timed yet;
        one without a guess counts as nothing.
        """
        if STEP not in self.took:
            return None
        means = {**(guesses or {}), **{part: mean_of_newest(took) for part, took in self.took.items()}}
        return sum(means.get(part, 0.0) * count for part, count in to_come.items())


def multiples(every: int, after: int, until: int) -> int:
    """Return how many multiples of `every` there are above `after`, up to `until`."""
    return until // every - after // every
