"""Defines what a reward of a stage is: a registered one, or a reward model that a stage trained."""

from __future__ import annotations

from dataclasses import dataclass

from alignkit.reward import RewardCall


@dataclass(frozen=True)
class RegisteredReward:
    """A reward that a plugin registered as `name`, with its options."""

    name: str
    call: RewardCall


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

    def __str__(self) -> str:
        """Write the reward as a plan shows it: with its weight, where it has one."""
        return self.name if self.weight == 1 else f"{self.weight:g} × {self.name}"


Rewards = tuple[WeightedReward, ...]


def written(rewards: Rewards) -> str:
    """Write a weighted sum of rewards as a plan shows it."""
    return " + ".join(map(str, rewards))
