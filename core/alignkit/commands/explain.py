"""The command `explain`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from alignkit.commands.options import Plugins

if TYPE_CHECKING:
    from alignkit.recipe.keys import Key


def explain(
    key: Annotated[
        str | None,
        typer.Argument(
            help="The path of a key, such as training.max_length or model.lora.r; without it, list all keys."
        ),
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Explain a key of recipes: its type, default, bounds and meaning, and the keys below it.

    Any name may stand for a stage or for data: stages.NAME.steps, data.NAME.path.

    A key that several verbs have is explained for each. The verb may stand for the name: stages.sample.on.

    Options of plugins are keys too: stages.NAME.train.OBJECTIVE.OPTION, training.optimizer.OPTIMIZER.OPTION.
    """
    from alignkit.recipe.keys import find_keys, recipe_keys
    from alignkit.registry import Registry

    registry = Registry(plugin)
    if key is None:
        _print_tree(recipe_keys(registry), "")
        return
    for number, found in enumerate(find_keys(key, registry)):
        if number:
            typer.echo()
        _print_whole(found)


def _print_whole(key: Key) -> None:
    """Print everything about a key, then the keys below it."""
    default = "no default: the key is required" if key.required else key.default
    parts = {"meaning": key.description, "type": key.type, "default": default, "bounds": key.bounds}
    typer.echo(key.path)
    for label, text in parts.items():
        if text:
            typer.echo(f"  {label:<7}  {text}")
    _print_below(key, "  ")
    if not key.listed_at:
        _print_tree(key.further, "  ")


def _print_tree(keys: Iterable[Key], indent: str) -> None:
    """Print a line per key, and the keys below each with a deeper indent."""
    for key in keys:
        default = f" = {key.default}" if key.default else ""
        limits = ", ".join(filter(None, ["required" if key.required else "", key.bounds]))
        told = f"{key.name}: {key.type}{default}{f' ({limits})' if limits else ''}"
        typer.echo(f"{indent}{told}{f'  {key.description}' if key.description else ''}")
        _print_below(key, f"{indent}  ")


def _print_below(key: Key, indent: str) -> None:
    _print_tree(key.keys, indent)
    if key.listed_at:
        typer.echo(f"{indent}… and the keys of {key.listed_at}")
