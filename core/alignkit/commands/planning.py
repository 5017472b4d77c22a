"""Reads and plans the recipe that a command is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alignkit.models.quantization import Settled
from alignkit.recipe import Model, load_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import Plan, make_plan


@dataclass(frozen=True)
class Planned:
    """A recipe's plan, the registry against which it is valid, and a line that says how its base is kept."""

    plan: Plan
    registry: Registry
    model_line: str


def plan_recipe(
    recipe: Path,
    overrides: list[str] | None,
    plugins: list[Path] | None,
    settle: Callable[[Model, Registry], Settled],
) -> Planned:
    """Plan a recipe. settle: decides the quantization, which stages are planned and fingerprinted with."""
    registry = Registry(plugins)
    read = load_recipe(recipe, overrides)
    settled = settle(read.model, registry)
    plan = make_plan(read.model_copy(update={"model": settled.model}), registry, recipe.parent)
    return Planned(plan, registry, settled.line)
