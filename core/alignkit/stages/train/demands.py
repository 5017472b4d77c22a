"""Refuses training stages whose objectives cannot do what the stage asks of them."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.errors import UserError, nearest
from alignkit.objective import DATA, Objective, OnlineObjective, Prompts, overrides, roles_of, sources_of
from alignkit.recipe import Recipe, Train
from alignkit.registry import Registry
from alignkit.signals import KINDS
from alignkit.stages.requirements import require_drawable, require_policy, require_stage


def require_sources(objective: OnlineObjective, where: str) -> None:
    """Refuse an online objective whose samples could not be made, or whose groups it would arrange."""
    if overrides(objective, "arrange"):
        raise UserError(
            "it learns from samples, and defines `arrange`, which is for groups of data",
            where=where,
            hint="Change rollouts in `prepare`.",
        )
    known = roles_of(objective)
    for name, count in sources_of(objective).items():
        writes = name == DATA or (name in known and not KINDS[known[name].kind].headed)
        if not writes or count < 1:
            raise UserError(
                f"`samples_from` takes {count} completions from {name!r}",
                where=where,
                hint=f"Name language models, or {DATA!r}, each with a number of at least 1. "
                f"{nearest(name, [*known, DATA])}",
            )
    if DATA in sources_of(objective) and issubclass(objective.data, Prompts):
        raise UserError(
            "`samples_from` takes completions of the data, and the objective declares data = Prompts",
            where=where,
            hint="Declare data that has completions, such as Demonstrations.",
        )


def require_start(
    settings: Train, objectives: Sequence[Objective], recipe: Recipe, registry: Registry, where: str
) -> None:
    """Refuse a start from another verb's stage, and a policy that starts from a reward model."""
    if settings.start is None:
        return
    require_stage(recipe, settings.start, Train, where)
    if any("policy" in objective.trains for objective in objectives):
        require_policy(recipe, settings.start, registry, where)


def require_samples(objective: OnlineObjective, settings: Train, registry: Registry, where: str) -> None:
    """Refuse an objective that cannot learn from the samples that the stage would draw."""
    if objective.rewarded and not settings.reward:
        raise UserError(
            f"the objective {objective.name!r} learns from rewards, and the stage names none",
            where=where,
            hint="Add `reward:`, a reward-model stage or one of: "
            f"{', '.join(sorted(registry.rewards.items))}.",
        )
    require_drawable(settings.sampling, settings.max_length, registry, f"{where}.sampling")
    if settings.sampling.temperature == 0:
        raise UserError(
            "at temperature 0 all samples of a prompt are the same, and none is better",
            where=f"{where}.sampling.temperature",
        )
    if "policy" not in {*objective.trains, *objective.reads}:
        raise UserError(
            "it learns from the policy's samples, and neither trains nor reads the policy",
            where=f"{where}.train.{objective.name}",
            hint="Declare the policy in `trains` or `reads`.",
        )
    if objective.minibatches > settings.batch_size:
        raise UserError(
            f"{objective.minibatches} minibatches cannot be made of {settings.batch_size} prompts",
            where=f"{where}.train.{objective.name}.minibatches",
            hint="A minibatch holds whole prompts: raise batch_size or lower minibatches.",
        )


def require_use_of_rewards(
    settings: Train, objectives: Sequence[Objective], reads_model: bool, where: str
) -> None:
    """Refuse rewards in a stage that scores nothing."""
    if any(isinstance(objective, OnlineObjective) for objective in objectives):
        return
    if settings.watch or (settings.reward and not reads_model):
        raise UserError(
            "no objective of this stage samples completions, so there is nothing to reward",
            where=f"{where}.{'watch' if settings.watch else 'reward'}",
        )
