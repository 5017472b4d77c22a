"""Scores completions by a weighted sum of rewards, registered ones and reward models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from alignkit.example import Example, Group
from alignkit.rewards.calling import call_reward
from alignkit.rewards.kinds import RegisteredReward, Rewards, WeightedReward
from alignkit.rewards.models import RewardModels

Numbers: TypeAlias = list[list[float | None]]
"""[prompt][completion]; None where a reward abstained."""


@dataclass(frozen=True)
class Scores:
    """The scores of a batch of completions.

    total: the weighted sum, None where one of its rewards abstained. each: every reward's own scores, before
    they are standardized and weighted.
    """

    total: Numbers
    each: dict[str, Numbers]
    token_rewards: list[list[list[float] | None]] | None = None

    def __add__(self, other: Scores) -> Scores:
        each = {name: numbers + other.each[name] for name, numbers in self.each.items()}
        tokens = None
        if self.token_rewards is not None and other.token_rewards is not None:
            tokens = self.token_rewards + other.token_rewards
        return Scores(self.total + other.total, each, tokens)

    def means(self) -> dict[str, float]:
        """Return the mean of each reward; a reward that abstained from everything is left out."""
        found = {
            name: [value for values in numbers for value in values if value is not None]
            for name, numbers in self.each.items()
        }
        return {name: sum(values) / len(values) for name, values in found.items() if values}


class Scorer:
    """Scores completions by `rewards`; `watch` is measured as well, and not summed.

    models: what loads reward models; not needed where all rewards are registered ones.
    """

    def __init__(self, rewards: Rewards, watch: Rewards = (), models: RewardModels | None = None) -> None:
        self.rewards, self.watch, self.models = rewards, watch, models
        for weighted in (*rewards, *watch):
            if not isinstance(weighted.reward, RegisteredReward):
                self._models.load(weighted.reward)

    def __call__(self, examples: Sequence[Example], groups: Sequence[Group]) -> Scores:
        """Return the scores of each example's completions. groups: their token ids, which models read."""
        named = {weighted.name: weighted for weighted in (*self.rewards, *self.watch)}
        each = {name: self._scores(weighted, examples, groups) for name, weighted in named.items()}
        summands = [
            (w.weight, _standardized(each[w.name]) if w.standardize else each[w.name]) for w in self.rewards
        ]
        total = [
            [_sum([(weight, numbers[i][k]) for weight, numbers in summands]) for k in range(len(completions))]
            for i, completions in enumerate(example.completions for example in examples)
        ]
        return Scores(total, each)

    @property
    def _models(self) -> RewardModels:
        if self.models is None:
            raise ValueError("a reward model is scored over a base: give `models`")
        return self.models

    def _scores(
        self, weighted: WeightedReward, examples: Sequence[Example], groups: Sequence[Group]
    ) -> Numbers:
        if isinstance(weighted.reward, RegisteredReward):
            return call_reward(weighted.reward, examples, groups)
        return [[*scores] for scores in self._models.scores(weighted.reward, groups)]


def _sum(summands: list[tuple[float, float | None]]) -> float | None:
    if any(value is None for _, value in summands):
        return None
    return sum(weight * value for weight, value in summands if value is not None)


def _standardized(numbers: Numbers) -> Numbers:
    """Bring the numbers to mean 0 and deviation 1 over all of them; to 0 where they are all equal."""
    known = [value for values in numbers for value in values if value is not None]
    mean = float(np.mean(known)) if known else 0.0
    # Equal numbers have a rounded mean, and a deviation that is rounding alone.
    deviation = float(np.std(known)) if known and min(known) < max(known) else 0.0

    def standard(value: float | None) -> float | None:
        if value is None:
            return None
        return (value - mean) / deviation if deviation > 0 else 0.0

    return [[standard(value) for value in values] for values in numbers]
