"""The command line. Heavy modules are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from alignkit.commands.authoring import new_plugin
from alignkit.commands.options import Plugins, quiet_libraries
from alignkit.commands.trained import export, sample
from alignkit.errors import UserError

if TYPE_CHECKING:
    from alignkit.registry import Registry
    from alignkit.stages.plan import Plan

MISTAKE, TERMINATED = 2, 143

app = typer.Typer(
    help="Align language models with preferences: plugins bring the methods, recipes compose them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[Path, typer.Argument(help="A recipe: a YAML file.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key.path=value, each replaces one value of the recipe.")
]
Out = Annotated[Path, typer.Option("--out", help="Where runs are kept.")]
RunArgument = Annotated[Path, typer.Argument(help="A run: the folder with a folder for each stage.")]


@app.command()
def run(
    recipe: RecipeArgument, overrides: Overrides = None, out: Out = Path("runs"), plugin: Plugins = None
) -> None:
    """Run a recipe. Finished stages are skipped, interrupted ones resumed."""
    plan, registry = _plan(recipe, overrides, plugin)
    from alignkit.display import TerminalDisplay
    from alignkit.pipeline import run_plan
    from alignkit.training.trainer import Interrupted

    with TerminalDisplay() as display:
        try:
            run_plan(plan, registry, out, display)
        except Interrupted:
            display.note("stopped by SIGTERM after saving a checkpoint; the same command goes on from there")
            raise typer.Exit(TERMINATED) from None
        display.console.print(f"\nDone: {out / plan.recipe.name}", highlight=False)


@app.command()
def check(recipe: RecipeArgument, overrides: Overrides = None, plugin: Plugins = None) -> None:
    """Validate a recipe and print its plan; loads no weights."""
    plan, _ = _plan(recipe, overrides, plugin)
    model = plan.recipe.model
    typer.echo(
        f"{plan.recipe.name}: {model.base}, {model.quantization}, LoRA r={model.lora.r}, seed "
        f"{plan.recipe.seed}"
    )
    for line in plan.lines():
        typer.echo(f"  {line}")


@app.command()
def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, plugin: Plugins = None
) -> None:
    """List the plugins and what each registers."""
    from alignkit.registry import Registry

    registry = Registry(plugin)
    kinds = (
        registry.objectives,
        registry.rewards,
        registry.formats,
        registry.models,
        registry.samplers,
        registry.measures,
    )
    shelves = {shelf.kind: shelf for shelf in kinds}
    listing = [
        {
            "name": found.name,
            "source": found.source,
            "registers": {
                kind: names
                for kind, shelf in shelves.items()
                if (names := sorted(name for name, owner in shelf.owners.items() if owner == found))
            },
            "not_usable": {
                name: reason
                for name, cls in registry.samplers.items.items()
                if registry.samplers.owners[name] == found and (reason := cls.missing()) is not None
            },
        }
        for found in registry.plugins
    ]
    if as_json:
        typer.echo(json.dumps(listing, indent=2))
        return
    width = max((len(item["name"]) for item in listing), default=0)
    for item in listing:
        registered = (
            "; ".join(
                f"{kind} {_listed(kind, names, item['not_usable'])}"
                for kind, names in item["registers"].items()
            )
            or "nothing"
        )
        typer.echo(f"{item['name']:<{width}}  {registered}  ({item['source']})")


@app.command()
def objectives(
    name: Annotated[str | None, typer.Argument(help="Show this one with its options.")] = None,
    plugin: Plugins = None,
) -> None:
    """List the objectives, or show one with its options and defaults."""
    from alignkit.registry import Registry

    registry = Registry(plugin)
    if name is None:
        width = max((len(known) for known in registry.objectives.items), default=0)
        for known, cls in sorted(registry.objectives.items.items()):
            typer.echo(
                f"{known:<{width}}  {(cls.__doc__ or '').strip().splitlines()[0] if cls.__doc__ else ''}"
            )
        return
    cls = registry.objectives.get(name)
    typer.echo(f"{name}: {(cls.__doc__ or '').strip()}\n")
    typer.echo(f"  data    {cls.data.__name__}")
    for declaration in ("trains", "reads"):
        roles = getattr(cls, declaration)
        typer.echo(
            f"  {declaration:<6}  "
            f"{'an option decides' if isinstance(roles, property) else ', '.join(sorted(roles)) or 'none'}"
        )
    for option, info in cls.model_fields.items():
        limits = f" ({', '.join(map(str, info.metadata))})" if info.metadata else ""
        typer.echo(
            f"  {option}: {_type_name(info.annotation)} = {info.default!r}{limits}  "
            f"{info.description or ''}".rstrip()
        )


@app.command()
def report(run: RunArgument) -> None:
    """Write RUN/report.html: what was measured, the training curves and samples on one page."""
    from alignkit.report.page import write_report

    typer.echo(f"Written: {write_report(run)}")


app.command()(sample)
app.command()(export)
app.command()(new_plugin)


def _plan(recipe: Path, overrides: list[str] | None, plugin: list[Path] | None) -> tuple[Plan, Registry]:
    from alignkit.recipe import load_recipe
    from alignkit.registry import Registry
    from alignkit.stages.plan import make_plan

    registry = Registry(plugin)
    return make_plan(load_recipe(recipe, overrides), registry, recipe.parent), registry


def _listed(kind: str, names: list[str], not_usable: dict[str, str]) -> str:
    """The names, samplers that cannot be used here with the reason."""
    reasons = not_usable if kind == "sampler" else {}
    return ", ".join(
        f"{name} (not usable here: {reasons[name]})" if name in reasons else name for name in names
    )


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")


def main() -> None:
    """Entry point: a user's mistake is one message and exit code 2, anything else a traceback and 1."""
    quiet_libraries()
    try:
        app()
    except UserError as error:
        typer.echo(f"alignkit: {error}", err=True)
        sys.exit(MISTAKE)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
