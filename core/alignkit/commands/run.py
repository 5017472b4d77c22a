"""The command `run`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Overrides, Plugins, RecipeArgument

if TYPE_CHECKING:
    from alignkit.registry import Registry
    from alignkit.stages.plan import Plan

TERMINATED = 143


def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="The folder in which runs are kept.")] = Path("runs"),
    plugin: Plugins = None,
    live: Annotated[
        bool, typer.Option("--live", help="Show the run's page in a browser while the run goes on.")
    ] = False,
    report: Annotated[
        bool, typer.Option(help="Write the run's page, RUN/report.html, when the run is done.")
    ] = True,
) -> None:
    """Run a recipe. Finished stages are skipped, interrupted ones are resumed."""
    from alignkit.commands.planning import plan_recipe
    from alignkit.models.quantization import settle_in_run
    from alignkit.run.kept_recipe import read_source

    planned = plan_recipe(recipe, overrides, plugin, settle_in_run)
    source = read_source(recipe, overrides or [])

    from alignkit.display import TerminalDisplay
    from alignkit.progress import counting, doing
    from alignkit.report.companion import followed

    place = out / planned.plan.recipe.name
    with TerminalDisplay() as display:
        display.console.print(planned.model_line, highlight=False, markup=False, soft_wrap=True)
        display.note("loading torch and transformers …")
        with doing(counting(display, "loading torch and transformers")):
            from alignkit.pipeline import run_plan
            from alignkit.training.interruption import Interrupted
        try:
            with followed(place, display.note) if live else nullcontext():
                run_plan(planned.plan, planned.registry, out, display, source)
        except Interrupted:
            display.note("stopped by SIGTERM after saving a checkpoint; the same command goes on from there")
            raise typer.Exit(TERMINATED) from None
        display.close(f"Done: {place}")
        if report:
            display.console.print(_report(place), highlight=False, markup=False, soft_wrap=True)
        for line in _next(planned.plan, planned.registry, place):
            display.console.print(line, highlight=False, markup=False, soft_wrap=True)


def _report(run: Path) -> str:
    """Write the page of a finished run; return a line that says where it is.

    A page that cannot be written never fails the run.
    """
    from alignkit.report.page import write_report

    try:
        return f"Report: {write_report(run)}"
    except Exception as error:
        return f"The report could not be written: {type(error).__name__}: {error}"


def _next(plan: Plan, registry: Registry, run: Path) -> list[str]:
    """Return what to type next: a chat with the policy that the plan trains last, if it trains any."""
    from alignkit.rewards.lookup import trained_roles

    policies = [
        name for name, stage in plan.stages.items() if "policy" in trained_roles(stage.settings, registry)
    ]
    return [f"Next: alignkit sample {run / name}" for name in policies[-1:]]
