"""Looks up the rewards that a stage names: stages that train a reward model, and registered rewards with
their options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from alignkit.errors import UserError, nearest
from alignkit.recipe import Recipe, RewardTerm, StageSettings, Train, mistake_of
from alignkit.registry import Registry
from alignkit.reward import Reward
from alignkit.rewards.kinds import WeightedReward


def make_measured(
    terms: tuple[RewardTerm, ...], recipe: Recipe, registry: Registry, where: str
) -> tuple[WeightedReward, ...]:
    """Rewards that are only measured, each by itself."""
    for term in terms:
        if term.weight != 1 or term.standardize:
            raise UserError(
                "a reward that is only measured takes no weight and is not standardised",
                where=f"{where}.{term.reward}",
            )
    return make_rewards(terms, recipe, registry, where)


def make_rewards(
    terms: tuple[RewardTerm, ...], recipe: Recipe, registry: Registry, where: str
) -> tuple[WeightedReward, ...]:
    """Each reward looked up: a stage that trains a reward model, or a registered reward."""
    require_once([term.reward for term in terms], where)
    made = []
    for term in terms:
        stage = recipe.stages.get(term.reward)
        if stage is not None and term.reward in registry.rewards.items:
            raise UserError(
                f"{term.reward!r} is both a stage and a registered reward",
                where=where,
                hint="Rename the stage.",
            )
        if stage is None:
            call = make_reward(
                registry, term.reward, term.options, where, [*registry.rewards.items, *recipe.stages]
            )
            made.append(WeightedReward(term.reward, term.weight, term.standardize, call))
            continue
        if term.options:
            raise UserError("a reward-model stage takes no options", where=f"{where}.{term.reward}")
        if not trains_reward(stage, registry):
            raise UserError(f"the stage {term.reward!r} trains no reward model", where=where)
        made.append(WeightedReward(term.reward, term.weight, term.standardize))
    return tuple(made)


def trains_reward(stage: StageSettings, registry: Registry) -> bool:
    """Whether a stage's result is a reward model."""
    if not isinstance(stage, Train):
        return False
    made = [registry.objectives.get(term.objective)(**term.options) for term in stage.train]
    return set().union(*(set(objective.trains) for objective in made)) == {"reward"}


def require_once(names: list[str], where: str) -> None:
    """Refuse a name that stands twice: scores are kept by name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"this names {twice!r} twice", where=where, hint="Scores are kept by name, so each stands once."
        )


def make_reward(
    registry: Registry, name: str, options: dict[str, Any], where: str, known: list[str]
) -> Reward | Callable[..., Any]:
    """The reward registered as `name`, with its options; `known`: what else might have been meant."""
    if name not in registry.rewards.items:
        raise UserError(f"no reward and no stage is called {name!r}", where=where, hint=nearest(name, known))
    reward = registry.rewards.get(name)
    if isinstance(reward, type):
        return validated(reward, options, f"{where}.{name}")
    if options:
        raise UserError(f"the reward {name!r} is a plain function and takes no options", where=where)
    return reward


def validated(cls: Any, options: dict[str, Any], where: str) -> Any:
    """`cls` with its options; raises UserError at the key path `where`."""
    try:
        return cls(**options)
    except ValidationError as error:
        raise mistake_of(error, cls, where) from error
