"""The command `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from alignkit.commands.options import Plugins


def schema(
    to: Annotated[Path | None, typer.Option("--to", help="The file to write; without it, print.")] = None,
    plugin: Plugins = None,
) -> None:
    """Print the JSON schema of recipes, or write it to a file: editors complete recipes with it.

    Many editors find it by the first line of a recipe: # yaml-language-server: $schema=FILE
    """
    from alignkit.recipe.editor import recipe_schema
    from alignkit.registry import Registry
    from alignkit.run.files import write_text

    text = json.dumps(recipe_schema(Registry(plugin)), indent=2, ensure_ascii=False)
    if to is None:
        typer.echo(text)
        return
    write_text(to, f"{text}\n")
    typer.echo(f"Written: {to}")
