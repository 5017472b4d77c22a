"""What a reward of a stage is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alignkit.reward import Reward


@dataclass(frozen=True)
class WeightedReward:
    """One reward of a weighted list. call: the registered reward; None where `name` is a stage that trained a
    reward model.

    standardize: over each batch of scores, to mean 0 and deviation 1, before it is weighted.
    """

    name: str
    weight: float = 1.0
    standardize: bool = False
    call: Reward | Callable[..., Any] | None = None
