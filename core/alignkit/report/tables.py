"""An evaluation as a table: a row a target, a column a measure, every mean with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from alignkit.evaluation.statistics import Interval
from alignkit.report.describing import measure_label
from alignkit.report.reading import REWARD_MODELS, Evaluation

ORDER = (
    "accuracy",
    "length_only_accuracy",
    "win_rate",
    "kl",
    "length",
    "unfinished",
    "repetition",
    "distinct",
)


@dataclass(frozen=True)
class Cell:
    """A mean and its interval as text; `left`, `middle` and `right` place them on the column's common scale,
    0 to 100.
    """

    mean: str
    interval: str
    left: float
    middle: float
    right: float
    best: bool


@dataclass(frozen=True)
class Row:
    """A target's cells; None where it has no such measure."""

    target: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Table:
    """Columns' labels, and the rows."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def make_table(evaluation: Evaluation) -> Table:
    """The table of an evaluation: rewards first, then what they cost. The highest mean of each reward is
    marked.
    """
    marked = ("accuracy",) if evaluation.kind == REWARD_MODELS else evaluation.rewards
    names = list(dict.fromkeys(measure for measures in evaluation.targets.values() for measure in measures))
    names.sort(key=lambda name: _place(name, evaluation.rewards))
    columns = [
        _column({target: m[name] for target, m in evaluation.targets.items() if name in m}, name in marked)
        for name in names
    ]
    rows = tuple(
        Row(target, tuple(column.get(target) for column in columns)) for target in evaluation.targets
    )
    return Table(tuple(measure_label(name, evaluation.against) for name in names), rows)


def _place(name: str, rewards: tuple[str, ...]) -> tuple[int, int]:
    if name in rewards:
        return 0, rewards.index(name)
    found = [
        number
        for number, known in enumerate(ORDER)
        if name == known or name.startswith((f"{known}/", f"{known}-"))
    ]
    return 1, found[0] if found else len(ORDER)


def _column(values: Mapping[str, Interval], marked: bool) -> dict[str, Cell]:
    """The cells of one measure, all to the same decimal, some without an interval. Nothing is best where
    there is nothing to compare.
    """
    finite = {target: value for target, value in values.items() if math.isfinite(value.mean)}
    if not finite:
        return {target: Cell("–", "", 50, 50, 50, False) for target in values}
    ends = {
        t: (v.low, v.high) if math.isfinite(v.low) and math.isfinite(v.high) else (v.mean, v.mean)
        for t, v in finite.items()
    }
    low, high = min(start for start, _ in ends.values()), max(end for _, end in ends.values())
    top = max(value.mean for value in finite.values())
    largest = max(abs(low), abs(high))
    decimals = min(3, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0

    def words(number: float) -> str:
        return f"{number:,.{decimals}f}"

    def scale(number: float) -> float:
        return 4 + 92 * (number - low) / (high - low) if high > low else 50.0

    cells = {target: Cell("–", "", 50, 50, 50, False) for target in values if target not in finite}
    for target, value in finite.items():
        (start, end), known = ends[target], math.isfinite(value.low) and math.isfinite(value.high)
        interval = f"{words(start)} to {words(end)}" if known else ""
        best = marked and len(finite) > 1 and value.mean == top
        cells[target] = Cell(words(value.mean), interval, scale(start), scale(value.mean), scale(end), best)
    return cells
