"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from alignkit.commands.options import StageArgument


def export(
    stage: StageArgument,
    to: Annotated[Path, typer.Option("--to", help="The folder to write; it must not exist.")],
    merged: Annotated[
        bool,
        typer.Option("--merged", help="Merge the adapter into the base: plain transformers loads the model."),
    ] = False,
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option("--dtype", help="Of the merged weights.")
    ] = "bfloat16",
) -> None:
    """Copy a stage's adapter out of its run, or write the merged model."""
    from alignkit.models.export import export_adapter, export_merged

    if not merged:
        export_adapter(stage, to)
        typer.echo(f"Written: {to}")
        return
    export_merged(stage, to, dtype)
    typer.echo(f"Written: {to}")
    import torch

    from alignkit.evaluation.served import measure_shift

    shift = measure_shift(stage, to, getattr(torch, dtype))
    nothing = "how far it is from the trained model was not measured: the stage kept no completions"
    typer.echo(nothing if shift is None else shift.line)
