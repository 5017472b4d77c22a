"""Makes the table of an evaluation: one row per target and seed, one column per measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from alignkit.evaluation.preferences import ACCURACY
from alignkit.evaluation.statistics import Interval
from alignkit.report.conclusions import best
from alignkit.report.records import REWARD_MODELS, Evaluation


@dataclass(frozen=True)
class Cell:
    """A mean and its interval as text, and their places on the column's common scale.

    left, middle, right: the interval's lower end, the mean, and the interval's upper end, from 0 to 100.
    """

    mean: str
    interval: str = ""
    left: float = 50.0
    middle: float = 50.0
    right: float = 50.0
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """The cells of a target; None where the target has no such measure."""

    target: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Table:
    """The labels of the columns, the rows of the targets, and those of each seed of a target."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    seeds: tuple[TableRow, ...] = ()


def make_table(evaluation: Evaluation) -> Table:
    """Make the table of an evaluation.

    Of each reward, the highest mean is marked where its interval overlaps no other's. All rows of a column
    have one scale.
    """
    marked = (ACCURACY,) if evaluation.kind == REWARD_MODELS else evaluation.rewards
    names = _columns(evaluation)
    seeds = {name: row for rows in evaluation.each.values() for name, row in rows.items()}
    columns = [_column(evaluation.targets, seeds, name, marked=name in marked) for name in names]
    return Table(
        tuple(str(evaluation.metric(name)) for name in names),
        tuple(TableRow(name, tuple(of.get(name) for of, _ in columns)) for name in evaluation.targets),
        tuple(TableRow(name, tuple(of.get(name) for _, of in columns)) for name in seeds),
    )


def _columns(evaluation: Evaluation) -> list[str]:
    """Return the measures that a target has: rewards first, then the others in the order of the file.

    The file lists win rates before measures. What it does not list comes last.
    """
    found = dict.fromkeys(name for values in evaluation.targets.values() for name in values)
    order = dict.fromkeys([*evaluation.rewards, *evaluation.measures, *found])
    return [name for name in order if name in found]


@dataclass(frozen=True)
class _Scale:
    """The common scale of a column, from the lowest end of its intervals to the highest."""

    low: float
    high: float

    def write(self, number: float) -> str:
        """Write a number to the same decimal as the others: three digits of the largest, at most three
        decimals.
        """
        largest = max(abs(self.low), abs(self.high))
        decimals = min(3, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0
        return f"{number:,.{decimals}f}"

    def place(self, number: float) -> float:
        """Return where a number stands between 4 and 96, so that no mark is cut off at an edge."""
        return 4 + 92 * (number - self.low) / (self.high - self.low) if self.high > self.low else 50.0


Rows = Mapping[str, Mapping[str, Interval]]


def _column(
    targets: Rows, seeds: Rows, name: str, *, marked: bool
) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """Make the cells of one measure, of the targets and of the seeds."""
    both = [
        {row: values[name] for row, values in rows.items() if name in values} for rows in (targets, seeds)
    ]
    known = [value for values in both for value in values.values() if math.isfinite(value.mean)]
    ends = [end for value in known for end in _ends(value)]
    scale = _Scale(min(ends, default=0.0), max(ends, default=0.0))
    top = best(both[0]) if marked else None
    of_targets, of_seeds = (
        {row: _cell(value, scale, marked=row == top and values is both[0]) for row, value in values.items()}
        for values in both
    )
    return of_targets, of_seeds


def _cell(value: Interval, scale: _Scale, *, marked: bool) -> Cell:
    if not math.isfinite(value.mean):
        return Cell("–")
    low, high = _ends(value)
    return Cell(
        mean=scale.write(value.mean),
        interval=f"{scale.write(low)} to {scale.write(high)}" if _has_interval(value) else "",
        left=scale.place(low),
        middle=scale.place(value.mean),
        right=scale.place(high),
        best=marked,
    )


def _ends(value: Interval) -> tuple[float, float]:
    """Return both ends of the interval; without an interval both are the mean."""
    return (value.low, value.high) if _has_interval(value) else (value.mean, value.mean)


def _has_interval(value: Interval) -> bool:
    return math.isfinite(value.low) and math.isfinite(value.high)
