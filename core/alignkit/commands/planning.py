"""Reads and plans the recipe that a command is given."""

from __future__ import annotations

from pathlib import Path

from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import Plan, make_plan


def plan_recipe(
    recipe: Path, overrides: list[str] | None, plugins: list[Path] | None
) -> tuple[Plan, Registry]:
    """Return the recipe's plan, and the registry against which it is valid."""
    registry = Registry(plugins)
    return make_plan(load_recipe(recipe, overrides), registry, recipe.parent), registry
