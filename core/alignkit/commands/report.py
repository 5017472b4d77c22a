"""The command `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignkit.errors import UserError

COMPARISON = Path("report.html")


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="A run: the folder that holds a folder for each stage. Several runs are compared.",
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help=f"The file for a comparison of runs.  [default: {COMPARISON}]"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Write the page anew while the run goes on, until it ends.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write RUN/report.html: measurements, training curves and samples on one page.

    Of several runs, write one page that compares their evaluations and settings.
    """
    page = _compare(runs, to, follow=follow) if len(runs) > 1 else _report(runs[0], to, show, follow=follow)
    if show and not follow:
        from alignkit.report.following import open_page

        open_page(page)
    typer.echo(f"Written: {page}")


def _report(run: Path, to: Path | None, show: bool, *, follow: bool) -> Path:
    from alignkit.report import following
    from alignkit.report.page import write_report

    if to is not None:
        raise UserError(
            "the page of one run is kept in its folder, so --to has nothing to say",
            hint=f"Leave --to out and find the page in {run / 'report.html'}.",
        )
    if not follow:
        return write_report(run)
    following.give_way()
    typer.echo(f"Following: {run / 'report.html'} (Ctrl-C ends it)")
    try:
        return following.follow(run, show=show)
    except KeyboardInterrupt:
        return write_report(run)


def _compare(runs: list[Path], to: Path | None, *, follow: bool) -> Path:
    from alignkit.report.comparing import write_comparison

    if follow:
        raise UserError("one run can be followed, several cannot", hint="Give one RUN with --follow.")
    return write_comparison(runs, to or COMPARISON)
