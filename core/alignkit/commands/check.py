"""The command `check`."""

from __future__ import annotations

import typer

from alignkit.commands.options import Overrides, Plugins, RecipeArgument


def check(recipe: RecipeArgument, overrides: Overrides = None, plugin: Plugins = None) -> None:
    """Validate a recipe and print its plan; no weights are loaded."""
    from alignkit.commands.planning import plan_recipe
    from alignkit.models.quantization import settle_in_check

    planned = plan_recipe(recipe, overrides, plugin, settle_in_check)
    plan = planned.plan
    typer.echo(f"{plan.recipe.name}: LoRA r={plan.recipe.model.lora.r}, seed {plan.recipe.seed}")
    for line in (planned.model_line, *plan.lines(), *plan.notes()):
        typer.echo(f"  {line}")
