"""Plans `label`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignkit.recipe import Label, Recipe, Sample
from alignkit.registry import Registry
from alignkit.rewards.kinds import Rewards, written
from alignkit.rewards.lookup import find_rewards
from alignkit.stages.planned import PlannedStage, Used, used_rewards
from alignkit.stages.requirements import require_stage
from alignkit.stages.reward_roles import bind_roles, players_of

SAMPLER = "engine"
"""The sampler with which rewards generate text."""


@dataclass(frozen=True)
class PlannedLabel(PlannedStage[Label]):
    """A stage that ranks completions. rewards: the weighted sum that ranks them."""

    verb: ClassVar[str] = "label"
    rewards: Rewards

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        noise = self.settings.noise
        told = f" with choice noise of temperature {noise:g}" if noise else ""
        return f"label {self.settings.label} by {written(self.rewards)}{told}"

    def uses(self, registry: Registry) -> list[Used]:
        """Return the registered rewards, and the sampler where a reward generates text."""
        sampler = [(registry.samplers, SAMPLER)] if self.uses_roles else []
        return [*used_rewards(registry, self.rewards), *sampler]

    @property
    def uses_roles(self) -> bool:
        """Tell whether a reward generates or scores text with a role."""
        return any(reward.uses for reward in self.rewards)


def plan_label(name: str, settings: Label, recipe: Recipe, registry: Registry, beside: Path) -> PlannedLabel:
    """Look up the rewards, and check that there are completions to rank."""
    where = f"stages.{name}"
    if settings.label in recipe.stages:
        require_stage(recipe, settings.label, Sample, f"{where}.label")
    by = f"{where}.by"
    # The policy is the one that wrote the completions, where one did.
    sampled = recipe.stages.get(settings.label)
    given = {"policy": sampled.sample} if isinstance(sampled, Sample) else {}
    rewards = bind_roles(find_rewards(settings.by, recipe, registry, by), recipe, registry, by, given=given)
    needs = dict.fromkeys([*recipe.needs(settings), *players_of(rewards)])
    return PlannedLabel(name, settings, tuple(needs), rewards)
