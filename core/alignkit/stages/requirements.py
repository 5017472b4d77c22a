"""Refuses stages of a recipe that cannot do what another stage asks of them."""

from __future__ import annotations

from alignkit.errors import UserError
from alignkit.recipe import BASE, Drawing, Recipe, Sample, Train
from alignkit.registry import Registry
from alignkit.rewards.lookup import trained_roles
from alignkit.sampling.lookup import find_sampler
from alignkit.signals import KINDS


def require_stage(recipe: Recipe, name: str, kind: type[Train] | type[Sample], where: str) -> None:
    """Raise UserError, at the key path `where`, unless `name` is a stage of this kind."""
    stage = recipe.stages.get(name)
    if not isinstance(stage, kind):
        found = "data" if stage is None else f"a {type(stage).__name__.lower()} stage"
        raise UserError(f"{name!r} is {found}; a {kind.__name__.lower()} stage is needed here", where=where)


def require_policy(recipe: Recipe, name: str, registry: Registry, where: str) -> None:
    """Raise UserError unless `name` is the base, or a training stage whose result writes completions."""
    if name == BASE:
        return
    require_stage(recipe, name, Train, where)
    trained = trained_roles(recipe.stages[name], registry)
    if all(KINDS[role.kind].headed for role in trained.values()):
        raise UserError(
            f"the stage {name!r} is a {', '.join(sorted(trained))} model; it scores completions and writes "
            "none",
            where=where,
        )


def require_drawable(drawing: Drawing, max_length: int, registry: Registry, where: str) -> None:
    """Raise UserError for a sampler that cannot be used here, and where no room is left for a prompt."""
    find_sampler(registry, drawing.sampler, f"{where}.sampler")
    if drawing.max_tokens >= max_length:
        raise UserError(
            f"a completion of {drawing.max_tokens} tokens leaves no room for a prompt within max_length "
            f"{max_length}",
            where=f"{where}.max_tokens",
            hint="max_length holds the prompt and its completion: raise it, or lower max_tokens.",
        )
