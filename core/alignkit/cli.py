"""The command line: puts the commands together, and says how they end.

Commands import heavy modules when they are called, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
import traceback

import typer

from alignkit.commands.check import check
from alignkit.commands.explain import explain
from alignkit.commands.export import export
from alignkit.commands.new_plugin import new_plugin
from alignkit.commands.objectives import objectives
from alignkit.commands.options import quiet_libraries
from alignkit.commands.plugins import plugins
from alignkit.commands.report import report
from alignkit.commands.run import run
from alignkit.commands.sample import sample
from alignkit.commands.schema import schema
from alignkit.errors import UserError

MISTAKE = 2

app = typer.Typer(
    help="Align language models with preferences: plugins bring the methods, recipes compose them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (run, check, explain, schema, plugins, objectives, sample, report, export, new_plugin):
    app.command()(command)


def main() -> None:
    """Run a command: a user's mistake is one message and exit code 2, anything else a traceback and 1."""
    quiet_libraries()
    try:
        app()
    except UserError as error:
        typer.echo(f"alignkit: {error}", err=True)
        sys.exit(MISTAKE)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
