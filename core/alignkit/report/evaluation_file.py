"""Reads `evaluation.json`: the measures of each target, and of each seed of a target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.evaluation.statistics import Bin, Interval
from alignkit.measure import Metric
from alignkit.report.parsing import read_json, readable
from alignkit.report.records import Evaluation


def read_evaluation(path: Path) -> Evaluation | None:
    """Return what the file says; None where there is none. Raises UserError where it cannot be read."""
    raw = read_json(path)
    if raw is None:
        return None
    with readable(path):
        return Evaluation(
            kind=raw["kind"],
            on=raw["on"],
            targets=_rows(raw["targets"]),
            measures={name: Metric(**fields) for name, fields in raw["measures"].items()},
            rewards=tuple(raw.get("rewards") or ()),
            against=raw.get("against"),
            prompts=raw.get("prompts"),
            per_prompt=raw.get("per_prompt"),
            calibration={
                target: tuple(Bin(**part) for part in bins)
                for target, bins in (raw.get("calibration") or {}).items()
            },
            each={target: _rows(seeds) for target, seeds in (raw.get("each") or {}).items()},
        )


def _rows(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Interval]]:
    return {
        target: {name: Interval(**_numbers(value)) for name, value in values.items()}
        for target, values in raw.items()
    }


def _numbers(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers with NaN for null: JSON has no NaN for the mean over nothing."""
    return {name: math.nan if number is None else number for name, number in value.items()}
