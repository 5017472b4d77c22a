"""Defines a planned stage: a stage of a recipe whose names are looked up and whose options are validated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from alignkit.measure import Metric
from alignkit.recipe import DataEntry, Recipe, StageSettings
from alignkit.registry import Registry, Shelf
from alignkit.rewards.kinds import Rewards
from alignkit.run.manifest import TermInputs

Settings = TypeVar("Settings", bound=StageSettings, covariant=True)
Used = tuple[Shelf, str]
"""A registered thing: the shelf that holds it, and its name."""


@dataclass(frozen=True)
class PlannedStage(ABC, Generic[Settings]):
    """A stage that is ready to run. Its subclasses say what the result depends on.

    verb: the recipe's word for it. without_effect: settings that are no part of its fingerprint, or a part by
    themselves. settings: the stage as the recipe gives it. needs: names of the data and of the stages that
    must be there before it.
    """

    verb: ClassVar[str]
    without_effect: ClassVar[frozenset[str]] = frozenset({"seed", "seeds"})
    name: str
    settings: Settings
    needs: tuple[str, ...]

    @property
    @abstractmethod
    def line(self) -> str:
        """Say what the stage does, in one line."""

    @abstractmethod
    def uses(self, registry: Registry) -> list[Used]:
        """Return the registered things whose code the result depends on, but for the formats of its data."""

    @property
    def entries(self) -> Mapping[str, DataEntry]:
        """Return the data entries of the stage itself, by the names that its inputs list."""
        return {}

    @property
    def terms(self) -> tuple[TermInputs, ...]:
        """Return the objectives of a training stage."""
        return ()

    @property
    def effective_settings(self) -> dict[str, Any]:
        """Return the settings that the result depends on, as plain values, but for the seed."""
        return self.settings.model_dump(mode="json", exclude={*self.without_effect})

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return the label and unit of each number in `metrics.jsonl`, by name."""
        return {}


def stage_seed(settings: StageSettings, recipe: Recipe) -> int:
    """Return the seed of a stage's random choices: its own, or else the recipe's. Its name does not count."""
    return recipe.seed if settings.seed is None else settings.seed


def used_rewards(registry: Registry, *sums: Rewards) -> list[Used]:
    """Return the registered rewards among those of several weighted sums."""
    return [(registry.rewards, reward.name) for rewards in sums for reward in rewards if not reward.is_model]
