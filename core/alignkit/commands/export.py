"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignkit.commands.options import StageArgument


def export(
    stage: StageArgument,
    to: Annotated[Path, typer.Option("--to", help="The folder to write; it must not exist.")],
    merged: Annotated[
        bool,
        typer.Option("--merged", help="Merge the adapter into the base: plain transformers loads the model."),
    ] = False,
) -> None:
    """Copy a stage's adapter out of its run, or write the merged model."""
    from alignkit.models.export import export_adapter, export_merged

    (export_merged if merged else export_adapter)(stage, to)
    typer.echo(f"Written: {to}")
