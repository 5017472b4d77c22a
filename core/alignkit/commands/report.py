"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run: the folder that holds a folder for each stage.")],
) -> None:
    """Write RUN/report.html: measurements, training curves and samples on one page."""
    from alignkit.report.page import write_report

    typer.echo(f"Written: {write_report(run)}")
