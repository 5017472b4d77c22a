"""Runs of recipes within this process, which needs no second start of torch."""

import io
from pathlib import Path

from rich.console import Console

from alignkit.display import TerminalDisplay
from alignkit.pipeline import run_plan
from alignkit.recipe import load_recipe
from alignkit.registry import Registry
from alignkit.stages.plan import make_plan


def run_here(recipe: Path, out: Path, *overrides: str, display: TerminalDisplay | None = None) -> str:
    """Run a recipe; return what a console of 100 columns shows, unless another display is given."""
    shown, registry = io.StringIO(), Registry()
    plan = make_plan(load_recipe(recipe, list(overrides)), registry, recipe.parent)
    used = display or TerminalDisplay(Console(file=shown, width=100))
    run_plan(plan, registry, out, used)
    used.close("Done")
    return shown.getvalue()
