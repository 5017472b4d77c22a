"""Plans `evaluate`: of policies by their samples on prompts, or of reward models by their scores of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from alignkit.errors import UserError
from alignkit.recipe import BASE, Evaluate, Recipe, RewardTerm, Target, Train
from alignkit.registry import Registry
from alignkit.rewards.kinds import Rewards, written
from alignkit.rewards.lookup import find_measured, find_rewards, require_once, trains_reward_model
from alignkit.stages.evaluate.rows import Row, rows_of, rows_with_reference
from alignkit.stages.planned import PlannedStage, Used, used_rewards
from alignkit.stages.requirements import require_drawable, require_policy, require_stage
from alignkit.stages.reward_roles import bind_roles

WITHOUT_EFFECT = frozenset({"seed", "show"})
"""Settings of evaluations that are no part of the fingerprint, or a part by themselves."""


@dataclass(frozen=True)
class PlannedEvaluation(PlannedStage[Evaluate]):
    """A stage that compares policies by samples of each.

    rewards, measures: what is measured on the samples. best: for each contestant of the rows, by its name,
    the rewards that choose among its samples; empty where nothing is chosen.
    """

    verb: ClassVar[str] = "evaluate"
    without_effect: ClassVar[frozenset[str]] = WITHOUT_EFFECT
    rewards: Rewards = ()
    measures: tuple[str, ...] = ()
    best: Mapping[str, Rewards] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        wanted = self.settings
        by = written(self.rewards) or "measures alone"
        return f"evaluate {_names(wanted)} on {wanted.on} by {by}, against {wanted.against}{_as(wanted)}"

    @property
    def rows(self) -> list[Row]:
        """Return who is compared: a row for each target and for the stage `against`."""
        return rows_with_reference(self.settings)

    def uses(self, registry: Registry) -> list[Used]:
        """Return the rewards, the measures and the sampler."""
        return [
            *used_rewards(registry, self.rewards, *self.best.values()),
            *((registry.measures, name) for name in self.measures),
            (registry.samplers, self.settings.sampler),
        ]


@dataclass(frozen=True)
class PlannedAssessment(PlannedStage[Evaluate]):
    """A stage that measures reward models on ranked completions."""

    verb: ClassVar[str] = "evaluate"
    without_effect: ClassVar[frozenset[str]] = WITHOUT_EFFECT

    @property
    def rows(self) -> list[Row]:
        """Return who is compared, a row for each target."""
        return rows_of(self.settings)

    @property
    def line(self) -> str:
        """Say what the stage does, in one line."""
        wanted = self.settings
        return f"evaluate the reward model {_names(wanted)} on the pairs of {wanted.on}{_as(wanted)}"

    def uses(self, registry: Registry) -> list[Used]:
        """Return nothing: reward models are assessed without samples and without a plugin."""
        return []


def plan_evaluate(
    name: str, settings: Evaluate, recipe: Recipe, registry: Registry, beside: Path
) -> PlannedEvaluation | PlannedAssessment:
    """Find out whether policies or reward models are evaluated, and plan that."""
    where = f"stages.{name}"
    targets = [one for target in settings.evaluate for one in settings.each(target)]
    for target in targets:
        if target.stage != BASE:
            require_stage(recipe, target.stage, Train, f"{where}.evaluate")
    require_once([target.name for target in settings.evaluate], f"{where}.evaluate")
    contestants = [contestant for row in rows_with_reference(settings) for contestant in row.contestants]
    for against in dict.fromkeys(contestant.against for contestant in contestants):
        require_policy(recipe, against, registry, f"{where}.against")
    best = {
        contestant.name: bind_roles(
            find_rewards(contestant.target.by, recipe, registry, f"{where}.evaluate"),
            recipe,
            registry,
            f"{where}.evaluate",
        )
        for contestant in contestants
    }
    models = [target for target in targets if _is_reward_model(target, recipe, registry)]
    if len(models) not in (0, len(targets)):
        raise UserError(
            f"{models[0].stage!r} is a reward model, and others of these are not",
            where=f"{where}.evaluate",
            hint="Evaluate reward models on pairs and policies on prompts, in two stages.",
        )
    if models:
        return _plan_assessment(name, settings, recipe, where)
    return _plan_evaluation(name, settings, recipe, registry, best)


def _plan_assessment(name: str, settings: Evaluate, recipe: Recipe, where: str) -> PlannedAssessment:
    if settings.by:
        raise UserError("reward models are assessed by the data's ranks, not by rewards", where=f"{where}.by")
    if any(target.best_of > 1 for target in settings.evaluate):
        raise UserError(
            "best_of needs a policy; a reward model scores completions and writes none",
            where=f"{where}.evaluate",
        )
    return PlannedAssessment(name, settings, tuple(recipe.needs(settings)))


def _plan_evaluation(
    name: str, settings: Evaluate, recipe: Recipe, registry: Registry, best: Mapping[str, Rewards]
) -> PlannedEvaluation:
    where = f"stages.{name}"
    require_drawable(settings, settings.max_length, registry, where)
    if settings.temperature == 0 and any(target.best_of > 1 for target in settings.evaluate):
        raise UserError(
            "at temperature 0 all samples are the same, so there is no best of them",
            where=f"{where}.temperature",
        )
    named, terms = _split(settings.by, recipe, registry, f"{where}.by")
    measures = named or tuple(registry.measures.items)
    rewards = find_measured(terms, recipe, registry, f"{where}.by")
    rewards = bind_roles(rewards, recipe, registry, f"{where}.by")
    require_once([*(reward.name for reward in rewards), *measures], f"{where}.by")
    return PlannedEvaluation(name, settings, tuple(recipe.needs(settings)), rewards, measures, best)


def _split(
    by: tuple[RewardTerm, ...], recipe: Recipe, registry: Registry, where: str
) -> tuple[tuple[str, ...], tuple[RewardTerm, ...]]:
    """Tell the measures among the names in `by` from the rewards."""
    measures = []
    for term in by:
        if term.reward not in registry.measures.items or term.reward in recipe.stages:
            continue
        if term != RewardTerm(reward=term.reward):
            raise UserError(
                f"{term.reward!r} is a measure here, which takes no options and no weight",
                where=f"{where}.{term.reward}",
            )
        measures.append(term.reward)
    return tuple(measures), tuple(term for term in by if term.reward not in measures)


def _is_reward_model(target: Target, recipe: Recipe, registry: Registry) -> bool:
    return target.stage != BASE and trains_reward_model(recipe.stages[target.stage], registry)


def _as(settings: Evaluate) -> str:
    return "" if settings.as_ == "trained" else f", {settings.as_}"


def _names(settings: Evaluate) -> str:
    return ", ".join(row.label for row in rows_of(settings))
