"""Chooses the metric of a stage that matters first, and says where it goes: noise is no trend."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from alignkit.measure import Metric
from alignkit.training.metrics import LOSS, OPTIMIZED_REWARD

LEAST = 4
"""The fewest numbers of a quarter: the spread of fewer says little about their noise."""
ERRORS = 2.0
"""Standard errors by which two means must differ before one is called higher than the other."""
UP, DOWN, LEVEL = "↑", "↓", "→"


@dataclass(frozen=True)
class Trend:
    """The means of a metric's first and last quarter, and an arrow from one to the other."""

    first: float
    last: float
    arrow: str

    def __str__(self) -> str:
        return f"{self.arrow} ({self.first:.3g} at first, {self.last:.3g} lately)"


def trend(values: Sequence[float]) -> Trend | None:
    """Compare the last quarter of a metric's numbers with the first; None while there are too few.

    The arrow is level unless the means differ by more than two standard errors of their difference,
    √(s₁²/n + s₂²/n). One step's numbers are independent of another's but for the training itself, which moves
    them within a quarter too: that makes the error larger, so an arrow is given late rather than early.
    """
    count = len(values) // 4
    if count < LEAST:
        return None
    quarters = values[:count], values[-count:]
    first, last = map(fmean, quarters)
    error = math.sqrt(sum(variance(quarter) for quarter in quarters) / count)
    arrow = LEVEL
    if abs(last - first) > ERRORS * error:
        arrow = UP if last > first else DOWN
    return Trend(first, last, arrow)


def leading(metrics: Mapping[str, Metric], seen: Collection[str]) -> str | None:
    """Return the name of the metric that matters first, among those that were seen.

    It is the reward that the stage maximizes; else the first metric with a unit that is no detail, such as an
    accuracy; else the loss. In a mixture it is the first objective's.
    """
    of_rewards = [name for name in metrics if name in seen and _is(name, OPTIMIZED_REWARD)]
    shown = {name: metric for name, metric in metrics.items() if name in seen and not metric.detail}
    with_unit = [name for name, metric in shown.items() if metric.unit]
    losses = [name for name in metrics if name in seen and _is(name, LOSS)]
    return next(iter([*of_rewards, *with_unit, *losses]), None)


def _is(name: str, what: str) -> bool:
    """Tell whether a metric is this one, with or without an objective's name before it."""
    return name == what or name.endswith(f"/{what}")
