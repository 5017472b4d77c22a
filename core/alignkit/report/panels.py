"""Chooses which metrics of a training stage are drawn, and in which order."""

from __future__ import annotations

import math

from alignkit.evaluation.preferences import LENGTH_ONLY
from alignkit.report.records import StageRecord
from alignkit.report.series import Records, has, series
from alignkit.training.metrics import (
    GRAD_NORM,
    HELD_OUT,
    LEARNING_RATE,
    LOSS,
    MEMORY,
    OPTIMIZED_REWARD,
    REWARDS,
    ROLLOUTS,
    SPEED,
)

WITHOUT_PANEL = ("step", SPEED, MEMORY, f"{ROLLOUTS}seconds", LENGTH_ONLY)
"""Numbers that the page tells in words, that another panel shows, or that a picture would not help with."""


def panel_names(stage: StageRecord) -> list[str]:
    """Return the metrics to draw, the most interesting first.

    A held-out metric shares the panel of its twin in training, so its name is listed once, without
    `held_out/`. A reward that is the optimized reward is not drawn again under its own name.
    """
    found = dict.fromkeys(
        name.removeprefix(HELD_OUT) for record in stage.metrics for name in record if has(record, name)
    )
    return sorted((name for name in found if _has_panel(stage, name)), key=lambda name: _place(stage, name))


def _has_panel(stage: StageRecord, name: str) -> bool:
    prefix, bare = stage.split(name)
    if bare.startswith(REWARDS):
        return not _repeats(stage.metrics, name, f"{prefix}{OPTIMIZED_REWARD}")
    return bare not in WITHOUT_PANEL


def _repeats(records: Records, name: str, optimized: str) -> bool:
    """Return whether a reward has the values of the optimized reward wherever both were measured."""
    both = [record for record in records if has(record, name) and has(record, optimized)]
    return bool(series(records, optimized).values) and all(
        math.isclose(record[name], record[optimized], abs_tol=1e-9) for record in both
    )


def _place(stage: StageRecord, name: str) -> int:
    """Return the metric's place in the order: the first line below that holds for it."""
    bare, metric = stage.split(name)[1], stage.metric(name)
    last = bare in (LEARNING_RATE, GRAD_NORM)
    lines = (
        bare == LOSS or bare.endswith(f"/{LOSS}"),
        bare == OPTIMIZED_REWARD,
        bare.startswith(REWARDS),
        metric.divergence,
        bare.startswith(ROLLOUTS),
        not metric.detail and not last,
        not last,
        last,
    )
    return lines.index(True)
