"""Rewards of completions: a weighted list of registered rewards and reward models over the run's base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.example import Example, Group
from alignkit.models.frozen import signals_by_group
from alignkit.models.roles import Roles
from alignkit.rewards.calling import score
from alignkit.rewards.kinds import WeightedReward

Numbers = list[list[float | None]]
"""[prompt][completion]; None where a reward abstained."""


@dataclass(frozen=True)
class Scores:
    """total: the weighted sum, None where one of its rewards abstained. each: every reward's own scores, as
    they are.
    """

    total: Numbers
    each: dict[str, Numbers]

    def means(self) -> dict[str, float]:
        """The mean of each reward; one that abstained from everything is left out."""
        found = {
            name: [v for values in numbers for v in values if v is not None]
            for name, numbers in self.each.items()
        }
        return {name: sum(values) / len(values) for name, values in found.items() if values}


class Scorer:
    """Scores completions by `rewards`; `watch` is measured besides. Reward-model stages become frozen roles
    of `roles`, which may be None where there are none. budget: tokens computed at once."""

    def __init__(
        self,
        rewards: Sequence[WeightedReward],
        roles: Roles | None,
        run: Path,
        budget: int,
        watch: Sequence[WeightedReward] = (),
    ) -> None:
        self.rewards, self.watch, self.roles, self.budget = tuple(rewards), tuple(watch), roles, budget
        for reward in (*rewards, *watch):
            if reward.call is not None:
                continue
            assert roles is not None
            if _role(reward) not in roles.roles:
                roles.add(_role(reward), kind="reward", trainable=False, start=run / reward.name / "adapter")

    def __call__(self, examples: Sequence[Example], groups: Sequence[Group]) -> Scores:
        """The scores of each example's completions. groups: their token ids, which reward models read."""
        named = {reward.name: reward for reward in (*self.rewards, *self.watch)}
        each = {name: self._one(reward, examples, groups) for name, reward in named.items()}
        weighted = [
            (r.weight, _standardized(each[r.name]) if r.standardize else each[r.name]) for r in self.rewards
        ]
        total = [
            [
                _sum([(weight, numbers[i][k]) for weight, numbers in weighted])
                for k in range(len(example.completions))
            ]
            for i, example in enumerate(examples)
        ]
        return Scores(total, each)

    def _one(self, reward: WeightedReward, examples: Sequence[Example], groups: Sequence[Group]) -> Numbers:
        if reward.call is None:
            assert self.roles is not None
            found = signals_by_group(self.roles, groups, range(len(groups)), [_role(reward)], self.budget)
            return [found["scores"][index].tolist() for index in range(len(groups))]
        owners = [example for example in examples for _ in example.completions]
        names = set().union(*(example.extra for example in examples))
        columns = {name: [example.extra.get(name) for example in owners] for name in sorted(names)}
        flat = iter(
            score(
                reward.call,
                reward.name,
                [example.prompt for example in owners],
                [completion for example in examples for completion in example.completions],
                [tokens for group in groups for tokens in group.completions],
                columns,
            )
        )
        return [[next(flat) for _ in example.completions] for example in examples]


def _role(reward: WeightedReward) -> str:
    return f"reward-{reward.name}"


def _sum(terms: list[tuple[float, float | None]]) -> float | None:
    return (
        None
        if any(value is None for _, value in terms)
        else sum(weight * value for weight, value in terms if value is not None)
    )


def _standardized(numbers: Numbers) -> Numbers:
    """The numbers at mean 0 and deviation 1 over all of them; 0 where they are all equal."""
    known = [value for values in numbers for value in values if value is not None]
    mean = float(np.mean(known)) if known else 0.0
    # Equal numbers have a rounded mean, and a deviation that is rounding alone.
    deviation = float(np.std(known)) if known and min(known) < max(known) else 0.0
    return [
        [None if value is None else (value - mean) / deviation if deviation > 0 else 0.0 for value in values]
        for values in numbers
    ]
