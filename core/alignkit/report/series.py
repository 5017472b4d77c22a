"""Follows one metric over the steps of a training stage, as it was measured and smoothed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMOOTHED_FROM = 10
"""Steps from which a metric is smoothed; a shorter run is drawn as it is."""

Records = Sequence[Mapping[str, float]]
"""The lines of `metrics.jsonl`, each with its `step`."""


@dataclass(frozen=True)
class Series:
    """A metric over the steps at which it was measured."""

    steps: tuple[float, ...]
    values: tuple[float, ...]


def series(records: Records, name: str) -> Series:
    """Return the metric's finite values."""
    kept = [record for record in records if has(record, name)]
    return Series(
        tuple(float(record["step"]) for record in kept),
        tuple(float(record[name]) for record in kept),
    )


def has(record: Mapping[str, float], name: str) -> bool:
    """Return whether the record has a finite value of the metric."""
    return isinstance(record.get(name), int | float) and math.isfinite(record[name])


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the running mean over about an eighth of the values.

    The window is centered, so that the mean does not lag behind the values, and shorter at both ends.
    """
    half = max(1, len(values) // 16) if len(values) >= SMOOTHED_FROM else 0
    means = []
    for place in range(len(values)):
        window = values[max(0, place - half) : place + half + 1]
        means.append(sum(window) / len(window))
    return means


def mean_records(runs: Sequence[Records]) -> Records:
    """Return the mean of several runs' records at the steps that all of them did.

    A metric is left out at a step where one of the runs lacks it.
    """
    if len(runs) == 1:
        return runs[0]
    by_step = [{record["step"]: record for record in records} for records in runs]
    common = [step for step in by_step[0] if all(step in others for others in by_step)]
    return [_mean([records[step] for records in by_step]) for step in common]


def _mean(records: Records) -> dict[str, float]:
    names = [name for name in records[0] if all(has(record, name) for record in records)]
    return {name: sum(record[name] for record in records) / len(records) for name in names}


def constant(records: Records, name: str) -> bool:
    """Tell whether a metric that was measured more than once never changed."""
    values = series(records, name).values
    return len(values) > 1 and math.isclose(min(values), max(values), rel_tol=1e-9, abs_tol=1e-12)
