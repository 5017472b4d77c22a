"""Defines what a reward of a stage is: a registered one, or a reward model that a stage trained."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from alignkit.reward import Reward, RewardCall


@dataclass(frozen=True)
class RegisteredReward:
    """A reward that a plugin registered as `name`, with its options.

    plugin: the plugin's name, for messages. roles: for roles that the reward uses, the stages, or base, that
    play them; a role that is not among them is one of the stage's own.
    """

    name: str
    call: RewardCall
    plugin: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def uses(self) -> Set[str]:
        """Return the roles with which the reward generates or scores text; a function uses none."""
        return self.call.uses if isinstance(self.call, Reward) else frozenset()


@dataclass(frozen=True)
class RewardModel:
    """The reward model that the stage `name` trained. It is an adapter with a head over the run's base."""

    name: str


@dataclass(frozen=True)
class WeightedReward:
    """One reward of a weighted sum.

    standardize: bring each batch of its scores to mean 0 and deviation 1 before they are weighted.
    """

    reward: RegisteredReward | RewardModel
    weight: float = 1.0
    standardize: bool = False

    @property
    def name(self) -> str:
        """Return the reward's name, under which its scores are kept."""
        return self.reward.name

    @property
    def is_model(self) -> bool:
        """Tell whether a stage trained it."""
        return isinstance(self.reward, RewardModel)

    @property
    def uses(self) -> Set[str]:
        """Return the roles with which the reward generates or scores text."""
        return frozenset() if isinstance(self.reward, RewardModel) else self.reward.uses

    def __str__(self) -> str:
        """Write the reward as a plan shows it: with its weight, where it has one."""
        return self.name if self.weight == 1 else f"{self.weight:g} × {self.name}"


Rewards = tuple[WeightedReward, ...]


def written(rewards: Rewards) -> str:
    """Write a weighted sum of rewards as a plan shows it."""
    return " + ".join(map(str, rewards))
