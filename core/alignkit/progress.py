"""Defines what a stage tells while it runs; `alignkit.display` shows it in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Takes how much of a task is done, and how much there is."""

PlainInterval: TypeAlias = Mapping[str, float | None]
"""A mean with its interval: `mean`, `low`, `high`, `count`."""


class Display(Protocol):
    """Shows notes, progress and tables of the stage that runs."""

    def note(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def advance(self, task: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """Show the progress of a task, with its newest numbers."""
        ...

    def table(self, targets: Mapping[str, Mapping[str, PlainInterval]]) -> None:
        """Show measured intervals, one line per target."""
        ...
