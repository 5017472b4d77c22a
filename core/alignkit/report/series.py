"""Follows one metric over the steps of a training stage, as it was measured and smoothed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SMOOTHED_FROM = 40
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
    """Return the running mean over about a twentieth of the values.

    The window is centered, so that the mean does not lag behind the values, and shorter at both ends.
    """
    half = len(values) // 40 if len(values) >= SMOOTHED_FROM else 0
    means = []
    for place in range(len(values)):
        window = values[max(0, place - half) : place + half + 1]
        means.append(sum(window) / len(window))
    return means
