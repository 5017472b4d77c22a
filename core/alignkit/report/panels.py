"""Chooses which metrics of a training stage are drawn, and in which order."""

from __future__ import annotations

import math

from alignkit.evaluation.preferences import LENGTH_ONLY
from alignkit.report.records import StageRecord
from alignkit.report.series import Records, constant, has, series
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


def panel_names(stage: StageRecord) -> tuple[list[str], list[str]]:
    """Return the metrics to draw, and those to fold away; each list with the most interesting first.

    Folded are metrics that never change, and details, such as the learning rate.

    A held-out metric shares the panel of its twin in training, so its name is listed once, without
    `held_out/`. A reward that is the optimized reward is not drawn again under its own name.
    """
    found = dict.fromkeys(
        name.removeprefix(HELD_OUT) for record in stage.metrics for name in record if has(record, name)
    )
    ordered = sorted(
        (name for name in found if _has_panel(stage, name)), key=lambda name: _place(stage, name)
    )
    shown = [name for name in ordered if not _is_folded(stage, name)]
    return shown, [name for name in ordered if name not in shown]


def _is_folded(stage: StageRecord, name: str) -> bool:
    bare = stage.split(name)[1]
    unchanged = [
        constant(stage.metrics, each)
        for each in (name, HELD_OUT + name)
        if series(stage.metrics, each).values
    ]
    detail = stage.metric(name).detail and bare != OPTIMIZED_REWARD
    return all(unchanged) or detail or bare.startswith((LEARNING_RATE, GRAD_NORM))


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
    """Return the metric's place in the order: the first line below that holds for it.

    Where an objective samples, its loss says little: the rewards and the divergence come before it.
    """
    (prefix, bare), metric = stage.split(name), stage.metric(name)
    online = bool(series(stage.metrics, f"{prefix}{OPTIMIZED_REWARD}").values)
    last = bare in (LEARNING_RATE, GRAD_NORM)
    lines = (
        bare == OPTIMIZED_REWARD,
        online and bare.startswith(REWARDS),
        online and metric.divergence,
        bare == LOSS or bare.endswith(f"/{LOSS}"),
        bare.startswith(REWARDS),
        metric.divergence,
        bare.startswith(ROLLOUTS),
        not metric.detail and not last,
        not last,
        last,
    )
    return lines.index(True)
