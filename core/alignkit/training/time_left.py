"""Estimates how long a training stage still takes, from what its parts took in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from alignkit.progress import mean_of_newest

STEP, DRAW, MEASURE, SAVE, PREVIEW = "step", "draw", "measure", "save", "preview"
"""The parts of a stage: an optimizer step without the rest; a batch of samples, drawn, scored and prepared; a
measurement on held-out data; a checkpoint; previews."""


@dataclass(frozen=True)
class Schedule:
    """How often a stage does what: optimizer steps, and the steps between two of each other part.

    None means never. What is done every few steps is also done at the end.
    """

    steps: int
    draw: int | None = None
    measure: int | None = None
    save: int | None = None
    preview: int | None = None

    def to_come(self, done: int) -> dict[str, int]:
        """Return how often each part is still to be done after `done` steps."""
        at_end = {MEASURE: self.measure, SAVE: self.save, PREVIEW: self.preview}
        found = {part: self._ends(every, done) for part, every in at_end.items() if every}
        if self.draw:
            found[DRAW] = multiples(self.draw, done - 1, self.steps - 1)
        return {STEP: self.steps - done, **found}

    def _ends(self, every: int, done: int) -> int:
        last = self.steps % every != 0 and done < self.steps
        return multiples(every, done, self.steps) + last


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

    def seconds(self, to_come: Mapping[str, int], guesses: Mapping[str, float] | None = None) -> float | None:
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
