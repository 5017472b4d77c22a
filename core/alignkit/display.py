"""What a run shows: a live bar with its newest numbers in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

# shown elsewhere, or only in metrics.jsonl
QUIET = ("learning_rate", "grad_norm", "tokens_per_second", "memory_gb")
QUIET_KINDS = ("logps/", "rollouts/", "objective/", "policy/", "val/")
LINE_SECONDS = 10.0
GAP = 3  # between the columns of a table


class TerminalDisplay:
    """Shows the stages of a run on a console; also a context manager that leaves the terminal clean."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.progress: Progress | None = None
        self.task: tuple[str, Any] | None = None
        self.started = self.last_line = 0.0
        self.stage = ""

    def begin(self, stage: str, line: str) -> None:
        """Announce a stage."""
        self.end()
        self.stage = stage
        self.console.print(f"\n[bold]{stage}[/bold]  {line}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def table(self, targets: dict[str, dict[str, dict[str, float | None]]]) -> None:
        """Measured intervals, a line a target; in several parts where they are wider than the console, so
        that numbers stay whole.
        """
        names = list(dict.fromkeys(name for values in targets.values() for name in values))
        cells = {name: [_interval(values.get(name)) for values in targets.values()] for name in names}
        widths = {
            name: max(map(len, [name, *"\n".join(column).splitlines()])) + GAP
            for name, column in cells.items()
        }
        taken = max(map(len, targets)) + 2  # by the targets' names and the edges
        parts: list[list[str]] = []
        for name in names:
            if not parts or taken + sum(widths[known] for known in [*parts[-1], name]) > self.console.width:
                parts.append([])
            parts[-1].append(name)
        for part in parts:
            needed = taken + sum(widths[name] for name in part)
            table = Table(
                box=box.SIMPLE_HEAD, pad_edge=False, width=needed if needed > self.console.width else None
            )
            table.add_column("", no_wrap=True)
            for name in part:
                table.add_column(name, justify="right", no_wrap=True)
            for number, target in enumerate(targets):
                table.add_row(target, *(cells[name][number] for name in part))
            self.console.print(table, soft_wrap=True)

    def advance(self, task: str, done: int, total: int, values: dict[str, float]) -> None:
        """Progress of a task of the stage, with its newest numbers."""
        if self.task is None or self.task[0] != task:
            self._start(task, total)
        assert self.task
        text = describe(values)
        if self.progress is not None:
            self.progress.update(self.task[1], completed=done, total=total, numbers=text)
        held_out = any(name.startswith("held_out/") for name in values)
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


def describe(values: dict[str, float]) -> str:
    """Metrics in one line: the held-out ones where there are any, then speed and memory."""
    held_out = {name: value for name, value in values.items() if name.startswith("held_out/")}
    shown = held_out or {name: value for name, value in values.items() if not _is_quiet(name)}
    parts = [f"{name} {value:.4g}" for name, value in shown.items()]
    if "tokens_per_second" in values:
        parts.append(f"{values['tokens_per_second']:.0f} tokens/s")
        parts.append(f"{values['memory_gb']:.1f} GB")
    return "  ".join(parts)


def _interval(value: dict[str, float | None] | None) -> str:
    """A mean with its interval below it."""
    if value is None or value["mean"] is None:
        return ""
    spread = f"\n{value['low']:.2f}…{value['high']:.2f}" if value["low"] is not None else ""
    return f"{value['mean']:.3f}{spread}"


def _is_quiet(name: str) -> bool:
    """Whether a metric is for the file alone; of a mixture's, the objective's name stands before it."""
    return name in QUIET or (
        any(kind in f"/{name}" for kind in map("/{}".format, QUIET_KINDS))
        and not name.endswith("objective/kl")
    )
