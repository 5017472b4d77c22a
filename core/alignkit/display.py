"""Shows a run: a live bar with its newest numbers in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from alignkit.measure import Metric
from alignkit.progress import PlainInterval
from alignkit.training.metrics import HELD_OUT, MEMORY, SPEED

LINE_SECONDS = 10.0
GAP = 3  # between the columns of a table


class TerminalDisplay:
    """Shows the stages of a run on a console; also a context manager that leaves the terminal clean."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.progress: Progress | None = None
        self.task: tuple[str, Any] | None = None
        self.started = self.last_line = 0.0
        self.metrics: Mapping[str, Metric] = {}

    def begin(self, stage: str, line: str, metrics: Mapping[str, Metric]) -> None:
        """Announce a stage. metrics: the labels of its numbers; details are not shown."""
        self.end()
        self.metrics = metrics
        self.console.print(f"\n[bold]{stage}[/bold]  {line}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self.console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def table(self, targets: Mapping[str, Mapping[str, PlainInterval]]) -> None:
        """Show measured intervals, one line per target.

        Where they are wider than the console they are shown in several parts, so that numbers stay whole.
        """
        names = list(dict.fromkeys(name for values in targets.values() for name in values))
        cells = {name: [_interval(values.get(name)) for values in targets.values()] for name in names}
        taken = max(map(len, targets)) + 2  # by the targets' names and the edges
        for part, width in self._parts(cells, taken):
            table = Table(
                box=box.SIMPLE_HEAD, pad_edge=False, width=width if width > self.console.width else None
            )
            table.add_column("", no_wrap=True)
            for name in part:
                table.add_column(name, justify="right", no_wrap=True)
            for number, target in enumerate(targets):
                table.add_row(target, *(cells[name][number] for name in part))
            self.console.print(table, soft_wrap=True)

    def _parts(self, cells: Mapping[str, list[str]], taken: int) -> list[tuple[list[str], int]]:
        """Cut a table's columns into parts that fit the console; return each part with its width."""
        parts: list[tuple[list[str], int]] = []
        for name, column in cells.items():
            width = max(map(len, [name, *"\n".join(column).splitlines()])) + GAP
            if parts and parts[-1][1] + width <= self.console.width:
                parts[-1] = ([*parts[-1][0], name], parts[-1][1] + width)
            else:
                parts.append(([name], taken + width))
        return parts

    def advance(self, task: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """Show the progress of a task of the stage, with its newest numbers."""
        if self.task is None or self.task[0] != task:
            self._start(task, total)
        assert self.task
        text = describe(values, self.metrics)
        if self.progress is not None:
            self.progress.update(self.task[1], completed=done, total=total, numbers=text)
        held_out = any(name.startswith(HELD_OUT) for name in values)
        due = done == total or time.monotonic() - self.last_line > LINE_SECONDS
        if held_out or (self.progress is None and due):
            self.last_line = time.monotonic()
            left = (time.monotonic() - self.started) / max(done, 1) * (total - done)
            self.note(f"{task} {done}/{total}  {text}" + (f"  {left:.0f} s left" if done < total else ""))
        if done == total:
            self.end()

    def _start(self, task: str, total: int) -> None:
        self.end()
        self.started = self.last_line = time.monotonic()
        if not self.console.is_terminal:
            self.task = (task, None)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self.progress = Progress(*columns, console=self.console, transient=True)
        self.progress.start()
        self.task = (task, self.progress.add_task(task, total=total, numbers=""))

    def end(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
        self.progress = self.task = None

    def __enter__(self) -> TerminalDisplay:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def describe(values: Mapping[str, float], metrics: Mapping[str, Metric]) -> str:
    """Write numbers in one line: the held-out ones where there are any, then speed and memory.

    metrics: the labels of the numbers; details are left out.
    """
    shown = {name: value for name, value in values.items() if name.startswith(HELD_OUT)}
    if not shown:
        details = {name for name, metric in metrics.items() if metric.detail}
        shown = {name: value for name, value in values.items() if name not in details | {SPEED, MEMORY}}
    parts = [f"{name} {value:.4g}" for name, value in shown.items()]
    if SPEED in values:
        parts += [f"{values[SPEED]:.0f} tokens/s", f"{values[MEMORY]:.1f} GB"]
    return "  ".join(parts)


def _interval(value: PlainInterval | None) -> str:
    """Write a mean with its interval below it."""
    if value is None or value["mean"] is None:
        return ""
    spread = f"\n{value['low']:.2f}…{value['high']:.2f}" if value["low"] is not None else ""
    return f"{value['mean']:.3f}{spread}"
