"""Draws the bars of the tasks that are under way, in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from alignkit.display.tables import plain


class Bars:
    """One bar for each task. They vanish when their tasks end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress: Progress | None = None
        self.bars: dict[str, TaskID] = {}

    def draw(self, name: str, done: int, total: int, texts: tuple[str, str, str]) -> None:
        """Show how far a task is. total: 0 where it is unknown. texts: its count, its time, its numbers."""
        if self.progress is None:
            self.progress = self._started()
        count, time, numbers = texts
        shown = {"total": total if total > 1 else None, "count": count, "time": time, "numbers": numbers}
        if name not in self.bars:
            self.bars[name] = self.progress.add_task(plain(name), completed=done, **shown)
        self.progress.update(self.bars[name], completed=done, **shown)

    def remove(self, name: str) -> None:
        """Take a task's bar away."""
        if self.progress is not None and name in self.bars:
            self.progress.remove_task(self.bars.pop(name))

    def clear(self) -> None:
        """Take all bars away."""
        if self.progress is not None:
            self.progress.stop()
        self.progress = None
        self.bars.clear()

    def _started(self) -> Progress:
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        progress = Progress(
            TextColumn("  {task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(24),
            TextColumn("{task.fields[count]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[time]}", markup=False, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[numbers]}", markup=False, table_column=rest),
            console=self.console,
            transient=True,
            expand=True,
        )
        progress.start()
        return progress
