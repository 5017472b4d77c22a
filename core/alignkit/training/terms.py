"""Defines what the training loop sums up, the terms of a stage, and what it reports of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alignkit.objective import Objective
from alignkit.training.sources import FixedSource, Source


@dataclass(frozen=True)
class TrainingTerm:
    """One objective of a stage, its weight in the sum, and where its groups come from.

    held_out: groups that are measured and not trained on. baselines: numbers that stand beside the held-out
    metrics, because they tell how good those are.
    """

    objective: Objective
    weight: float
    source: Source
    held_out: FixedSource | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StepOutcome:
    """What one optimizer step reports.

    tokens: those of the prefix trees that it trained on. waited: seconds until its groups were there.
    """

    metrics: dict[str, float]
    tokens: int
    waited: float
