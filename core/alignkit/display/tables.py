"""Draws tables of measured intervals that fit a console, and the table of how long each stage took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from alignkit.display.pace import exact_duration
from alignkit.progress import PlainInterval

GAP = 3  # between the columns of a table


def plain(text: str) -> str:
    """Return a text that moves no cursor and sets no colour: control characters are replaced."""
    return "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in text)


def shortened(text: str, most: int) -> str:
    """Return a text in one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def interval_tables(targets: Mapping[str, Mapping[str, PlainInterval]], width: int) -> Iterator[Table]:
    """Give tables of intervals, one line per target.

    Where the measures are wider than the console they are in several tables, so that numbers stay whole. A
    measure that no target has is left out.
    """
    names = list(dict.fromkeys(name for values in targets.values() for name in values))
    columns = {name: [_interval(values.get(name)) for values in targets.values()] for name in names}
    cells = {name: column for name, column in columns.items() if any(column)}
    taken = max(map(len, targets)) + 2  # by the targets' names and the edges
    for part, needed in _parts(cells, taken, width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=needed if needed > width else None)
        table.add_column("", no_wrap=True)
        for name in part:
            table.add_column(Text(plain(name)), justify="right", no_wrap=True)
        for number, target in enumerate(targets):
            table.add_row(Text(plain(target)), *(cells[name][number] for name in part))
        yield table


def durations(took: Mapping[str, float | None]) -> str:
    """Write how many seconds each stage took; None stands for a stage that was skipped."""
    total = sum(seconds for seconds in took.values() if seconds is not None)
    rows = {
        **{name: "skipped" if seconds is None else exact_duration(seconds) for name, seconds in took.items()},
        "together": exact_duration(total),
    }
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())


def _parts(cells: Mapping[str, list[str]], taken: int, whole: int) -> list[tuple[list[str], int]]:
    """Cut a table's columns into parts that fit the console; return each part with its width."""
    parts: list[tuple[list[str], int]] = []
    for name, column in cells.items():
        width = max(map(len, [name, *"\n".join(column).splitlines()])) + GAP
        if parts and parts[-1][1] + width <= whole:
            parts[-1] = ([*parts[-1][0], name], parts[-1][1] + width)
        else:
            parts.append(([name], taken + width))
    return parts


def _interval(value: PlainInterval | None) -> str:
    """Write a mean with its interval below it."""
    if value is None or value["mean"] is None:
        return ""
    spread = f"\n{value['low']:.2f}…{value['high']:.2f}" if value["low"] is not None else ""
    return f"{value['mean']:.3f}{spread}"
