"""Defines what a stage tells while it runs; `alignkit.display` shows it in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Takes how much of a task is done, and how much there is."""

ProgressOf: TypeAlias = Callable[[str], Progress]
"""Gives the progress of the task of this name, which is shown to the user."""

PlainInterval: TypeAlias = Mapping[str, float | None]
"""A mean with its interval: `mean`, `low`, `high`, `count`."""


class Display(Protocol):
    """Shows notes, progress and tables of the stage that runs."""

    def note(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def brief(self, when: str, prompt: str, answer: str) -> None:
        """Show a prompt and its answer in one line that stays, as much of them as there is room for."""
        ...

    def advance(
        self, task: str, done: int, total: int, values: Mapping[str, float], *, left: float | None = None
    ) -> None:
        """Show the progress of a task, with its newest numbers. Where `done` is `total` the task ends.

        A task that begins while another one is under way is a part of it. total: 0 where it is not known yet.
        left: seconds to the end, where the task knows better than a display, which sees counts alone.
        """
        ...

    def recall(self, task: str, records: Sequence[Mapping[str, float]]) -> None:
        """Take the numbers that earlier runs of this stage showed: trends begin with them."""
        ...

    def table(self, targets: Mapping[str, Mapping[str, PlainInterval]]) -> None:
        """Show measured intervals, one line per target."""
        ...


def counting(display: Display, task: str) -> Progress:
    """Return the progress of a task that has no numbers but its count."""
    return lambda done, total: display.advance(task, done, total, {})


def silent(task: str) -> Progress:
    """Return the progress of a task that nobody looks at."""
    return lambda done, total: None


@contextmanager
def doing(progress: Progress) -> Iterator[None]:
    """Show a task that cannot tell how far it is."""
    progress(0, 1)
    yield
    progress(1, 1)


def mean_of_newest(seconds: Sequence[float]) -> float:
    """Return the mean of the newer half of some durations: the first ones are slower than those to come."""
    newest = seconds[len(seconds) // 2 :]
    return sum(newest) / len(newest)
