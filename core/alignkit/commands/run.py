"""The command `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignkit.commands.options import Overrides, Plugins, RecipeArgument

TERMINATED = 143


def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The folder in which runs are kept.")] = Path("runs"),
    plugin: Plugins = None,
) -> None:
    """Run a recipe. Finished stages are skipped, interrupted ones are resumed."""
    from alignkit.commands.planning import plan_recipe
    from alignkit.models.quantization import settle_in_run

    planned = plan_recipe(recipe, overrides, plugin, settle_in_run)

    from alignkit.display import TerminalDisplay
    from alignkit.progress import counting, doing

    with TerminalDisplay() as display:
        display.console.print(planned.model_line, highlight=False, markup=False, soft_wrap=True)
        display.note("loading torch and transformers …")
        with doing(counting(display, "loading torch and transformers")):
            from alignkit.pipeline import run_plan
            from alignkit.training.interruption import Interrupted
        try:
            run_plan(planned.plan, planned.registry, out, display)
        except Interrupted:
            display.note("stopped by SIGTERM after saving a checkpoint; the same command goes on from there")
            raise typer.Exit(TERMINATED) from None
        display.close(f"Done: {out / planned.plan.recipe.name}")
