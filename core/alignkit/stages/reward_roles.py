"""Finds out which stage plays each role with which a reward generates or scores text."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from alignkit.errors import UserError, nearest
from alignkit.recipe import BASE, Recipe
from alignkit.registry import Registry
from alignkit.rewards.kinds import RegisteredReward, Rewards
from alignkit.stages.requirements import require_policy


def bind_roles(
    rewards: Rewards,
    recipe: Recipe,
    registry: Registry,
    where: str,
    *,
    own: Collection[str] = (),
    given: Mapping[str, str] | None = None,
) -> Rewards:
    """Return the rewards with the stage, or base, that plays each role that they use.

    own: the roles of the stage itself, which stay unbound. given: stages that play a role unless the recipe
    says otherwise. Raises UserError, at the key path `where`, for a role that nothing plays, for one that the
    reward does not use, and for a stage whose result writes no completions.
    """
    return tuple(
        replace(
            weighted,
            reward=_bound(weighted.reward, recipe, registry, f"{where}.{weighted.name}", own, given or {}),
        )
        if isinstance(weighted.reward, RegisteredReward)
        else weighted
        for weighted in rewards
    )


def players_of(rewards: Rewards) -> list[str]:
    """Return the names of the stages that play roles of the rewards, without the base."""
    registered = [one.reward for one in rewards if isinstance(one.reward, RegisteredReward)]
    return [stage for reward in registered for stage in reward.roles.values() if stage != BASE]


def _bound(
    reward: RegisteredReward,
    recipe: Recipe,
    registry: Registry,
    where: str,
    own: Collection[str],
    given: Mapping[str, str],
) -> RegisteredReward:
    for role in reward.roles:
        if role not in reward.uses:
            used = nearest(role, reward.uses) if reward.uses else "It uses no role: remove the key."
            raise UserError(f"the reward does not use a role {role!r}", where=f"{where}.roles", hint=used)
    roles = {}
    for role in sorted(reward.uses):
        stage = reward.roles.get(role, None if role in own else given.get(role))
        if stage is not None:
            require_policy(recipe, stage, registry, f"{where}.roles.{role}")
            roles[role] = stage
        elif role not in own:
            raise UserError(
                f"the reward uses the role {role!r}, which nothing here plays",
                where=where,
                hint=f"Say which stage, or base, plays it: `roles: {{{role}: STAGE}}` among its options.",
            )
    return replace(reward, roles=roles)
