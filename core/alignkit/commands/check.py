"""The command `check`."""

from __future__ import annotations

import typer

from alignkit.commands.options import Overrides, Plugins, RecipeArgument


def check(recipe: RecipeArgument, overrides: Overrides = None, plugin: Plugins = None) -> None:
    """Validate a recipe and print its plan; no weights are loaded."""
    from alignkit.commands.planning import plan_recipe

    plan, _ = plan_recipe(recipe, overrides, plugin)
    model = plan.recipe.model
    typer.echo(
        f"{plan.recipe.name}: {model.base}, {model.quantization}, LoRA r={model.lora.r}, "
        f"seed {plan.recipe.seed}"
    )
    for line in (*plan.lines(), *plan.notes()):
        typer.echo(f"  {line}")
