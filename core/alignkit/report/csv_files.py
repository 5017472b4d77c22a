"""Writes the page's numbers as CSV: the table of each evaluation, and the metrics of each training."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alignkit.evaluation.statistics import Interval
from alignkit.report.records import Evaluation, StageRecord


@dataclass(frozen=True)
class Sheet:
    """A CSV file. name: with its ending."""

    name: str
    text: str

    @property
    def data_uri(self) -> str:
        """Return the file as an address that holds it, so that a page by itself can offer it."""
        return f"data:text/csv;base64,{base64.b64encode(self.text.encode()).decode()}"


def evaluation_sheet(stage: str, evaluation: Evaluation) -> Sheet:
    """Write a row for each target, then one for each of its seeds; of each measure, both ends and the count.

    A number that is not there is an empty cell.
    """
    names = list(dict.fromkeys(name for values in evaluation.targets.values() for name in values))
    header = ["target", "seed_of"]
    header += [f"{name}{end}" for name in names for end in ("", " low", " high", " count")]
    rows = []
    for target, values in evaluation.targets.items():
        rows.append([target, "", *_cells(values, names)])
        for seed, of_seed in evaluation.each.get(target, {}).items():
            rows.append([seed, target, *_cells(of_seed, names)])
    return Sheet(f"{stage}.csv", _written([header, *rows]))


def _cells(values: Mapping[str, Interval], names: Sequence[str]) -> list[object]:
    cells: list[object] = []
    for name in names:
        value = values.get(name)
        numbers = (value.mean, value.low, value.high, value.count) if value else ("",) * 4
        cells += ["" if isinstance(n, float) and not math.isfinite(n) else n for n in numbers]
    return cells


def metrics_sheet(family: str, stages: Sequence[StageRecord]) -> Sheet:
    """Write a row for each step of each stage, with every metric that was measured."""
    names = dict.fromkeys(name for stage in stages for record in stage.metrics for name in record)
    rows = [
        [stage.name, *(record.get(name, "") for name in names)]
        for stage in stages
        for record in stage.metrics
    ]
    return Sheet(f"{family}.csv", _written([["stage", *names], *rows]))


def _written(rows: Sequence[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
