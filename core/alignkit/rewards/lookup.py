"""Looks up the rewards that a stage names: stages that train a reward model, and registered rewards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alignkit.errors import UserError, nearest, plugin_errors
from alignkit.objective import trained_by
from alignkit.recipe import Recipe, RewardTerm, StageSettings, Train
from alignkit.recipe.mistakes import validate
from alignkit.registry import Registry
from alignkit.reward import Reward, RewardCall
from alignkit.rewards.kinds import RegisteredReward, RewardModel, Rewards, WeightedReward
from alignkit.signals import Role


def find_rewards(terms: tuple[RewardTerm, ...], recipe: Recipe, registry: Registry, where: str) -> Rewards:
    """Look up each reward of a weighted sum.

    Raises UserError, at the key path `where`, for a name that is not a reward.
    """
    require_once([term.reward for term in terms], where)
    return tuple(_find(term, recipe, registry, where) for term in terms)


def find_measured(terms: tuple[RewardTerm, ...], recipe: Recipe, registry: Registry, where: str) -> Rewards:
    """Look up rewards that are only measured, each by itself: they take no weight."""
    for term in terms:
        if term.weight != 1 or term.standardize:
            raise UserError(
                "a reward that is only measured takes no weight and is not standardized",
                where=f"{where}.{term.reward}",
            )
    return find_rewards(terms, recipe, registry, where)


def make_reward(
    registry: Registry, name: str, options: dict[str, Any], where: str, others: Iterable[str] = ()
) -> RewardCall:
    """Make the reward registered as `name` with its options; `others` are further names that may be meant."""
    if name not in registry.rewards.items:
        raise UserError(
            f"no reward and no stage is called {name!r}",
            where=where,
            hint=nearest(name, [*registry.rewards.items, *others]),
        )
    reward = registry.rewards.get(name)
    if isinstance(reward, type):
        return _made(reward, options, f"{where}.{name}", registry.rewards.owners[name].name)
    if options:
        raise UserError(f"the reward {name!r} is a plain function and takes no options", where=where)
    return reward


def _made(cls: type[Reward], options: dict[str, Any], where: str, plugin: str) -> Reward:
    """Make a reward with its options. Raises UserError where they are wrong, and where the class fails."""
    what = f"the reward of plugin {plugin!r} cannot be made"
    with plugin_errors(what, cls, where=where, hint="Fix the plugin that registers it."):
        return validate(cls, options, where)


def trains_reward_model(stage: StageSettings, registry: Registry) -> bool:
    """Tell whether a stage's result is a reward model."""
    return {role.kind for role in trained_roles(stage, registry).values()} == {"reward"}


def trained_roles(stage: StageSettings, registry: Registry) -> dict[str, Role]:
    """Return the roles that a stage trains, each with an adapter of its own.

    There are none where it is not a training stage.
    """
    if not isinstance(stage, Train):
        return {}
    made = [registry.objectives.get(term.objective)(**term.options) for term in stage.train]
    return {name: role for objective in made for name, role in trained_by(objective).items()}


def require_once(names: list[str], where: str) -> None:
    """Refuse a name that stands twice: scores, and what observers remember, are kept by name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"this names {twice!r} twice",
            where=where,
            hint="Each stands once, because results are kept by name.",
        )


def _find(term: RewardTerm, recipe: Recipe, registry: Registry, where: str) -> WeightedReward:
    stage = recipe.stages.get(term.reward)
    if stage is None:
        call = make_reward(registry, term.reward, term.options, where, recipe.stages)
        plugin = registry.rewards.owners[term.reward].name
        reward = RegisteredReward(term.reward, call, plugin, term.roles)
        return WeightedReward(reward, term.weight, term.standardize)
    if term.reward in registry.rewards.items:
        raise UserError(
            f"{term.reward!r} is both a stage and a registered reward", where=where, hint="Rename the stage."
        )
    if term.options or term.roles:
        raise UserError("a reward-model stage takes no options and no roles", where=f"{where}.{term.reward}")
    if not trains_reward_model(stage, registry):
        raise UserError(f"the stage {term.reward!r} trains no reward model", where=where)
    return WeightedReward(RewardModel(term.reward), term.weight, term.standardize)
