"""Weights and standardizes the scores of a reward before they are added to those of others.

T: the tokens of a completion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from alignkit.rewards.given import Given
from alignkit.rewards.placing import Decode, added_at_end, at_tokens

Numbers: TypeAlias = list[list[float | None]]
"""[prompt][completion]; None where a reward abstained."""


@dataclass(frozen=True)
class Scale:
    """What is done to a reward before it is added: the mean of its sums leaves, and it is scaled.

    deviation: that of the sums; 0 where all are equal, which makes the reward 0.
    """

    weight: float
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, weight: float, sums: Numbers, *, standardize: bool) -> Scale:
        """Return the scale of a reward. standardize: bring `sums` to mean 0 and deviation 1."""
        known = [value for values in sums for value in values if value is not None]
        if not standardize or not known:
            return cls(weight)
        # Equal numbers have a rounded mean, and a deviation that is rounding alone.
        deviation = float(np.std(known)) if min(known) < max(known) else 0.0
        return cls(weight, float(np.mean(known)), deviation)

    def of_sum(self, value: float | None) -> float | None:
        """Return what a completion's sum adds to its total."""
        if value is None:
            return None
        return self.weight * ((value - self.mean) / self.deviation if self.deviation > 0 else 0.0)

    def at_tokens(self, given: Given, ids: list[int], text: Decode) -> list[float]:
        """Return what a completion's T tokens add to its rewards; the mean leaves at the last token."""
        if self.deviation == 0:
            return [0.0] * len(ids)
        numbers = added_at_end(at_tokens(given, ids, text), -self.mean)
        return [self.weight * (number / self.deviation) for number in numbers]
