"""Makes the table of an evaluation: one row per target, one column per measure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from alignkit.evaluation.preferences import ACCURACY
from alignkit.evaluation.statistics import Interval
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
    """The labels of the columns, and the rows."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def make_table(evaluation: Evaluation) -> Table:
    """Make the table of an evaluation, with a mark at the highest mean of each reward."""
    marked = (ACCURACY,) if evaluation.kind == REWARD_MODELS else evaluation.rewards
    names = _columns(evaluation)
    columns = [
        _column(
            {target: values[name] for target, values in evaluation.targets.items() if name in values},
            marked=name in marked,
        )
        for name in names
    ]
    rows = tuple(
        TableRow(target, tuple(column.get(target) for column in columns)) for target in evaluation.targets
    )
    return Table(tuple(str(evaluation.metric(name)) for name in names), rows)


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


def _column(values: Mapping[str, Interval], *, marked: bool) -> dict[str, Cell]:
    """Make the cells of one measure by target. A single number is not marked as the best."""
    finite = {target: value for target, value in values.items() if math.isfinite(value.mean)}
    ends = [end for value in finite.values() for end in _ends(value)]
    scale = _Scale(min(ends, default=0.0), max(ends, default=0.0))
    top = max((value.mean for value in finite.values()), default=math.nan)
    cells = {target: Cell("–") for target in values}
    for target, value in finite.items():
        low, high = _ends(value)
        cells[target] = Cell(
            mean=scale.write(value.mean),
            interval=f"{scale.write(low)} to {scale.write(high)}" if _has_interval(value) else "",
            left=scale.place(low),
            middle=scale.place(value.mean),
            right=scale.place(high),
            best=marked and len(finite) > 1 and value.mean == top,
        )
    return cells


def _ends(value: Interval) -> tuple[float, float]:
    """Return both ends of the interval; without an interval both are the mean."""
    return (value.low, value.high) if _has_interval(value) else (value.mean, value.mean)


def _has_interval(value: Interval) -> bool:
    return math.isfinite(value.low) and math.isfinite(value.high)
