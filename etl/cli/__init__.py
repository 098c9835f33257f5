"""The `chandler` command: what a person types and reads. Decides nothing; every command calls one function of `etl`.

Heavy imports stand in the commands that need them, so that `--help` is quick.
"""

from __future__ import annotations

import errno
import sys
from functools import cache
from importlib.metadata import entry_points
from io import TextIOWrapper
from typing import Annotated

import typer

from etl.cli import alerts, archive, incidents, quarantine, warehouse
from etl.cli.accounts import audit, status
from etl.cli.archive import maintain
from etl.cli.help_text import reflow
from etl.cli.history import quality, revisions
from etl.cli.importing import import_candles
from etl.cli.loading import ingest
from etl.cli.logs import set_up_logs
from etl.cli.options import refuse_repeats
from etl.cli.repairing import repair
from etl.cli.signals import ending_as_interrupts
from etl.cli.terminal import complain, err
from etl.cli.venues import exchanges, feeds, replay
from etl.errors import ChandlerError, ConfigError

app = typer.Typer(
    name="chandler",
    help=(
        "Exchange candles into Parquet and PostgreSQL, every one accounted for.\n\n"
        "Feeds stand in feeds.toml, or in the file that CHANDLER_FEEDS names; stores in .chandler, or in the folder "
        "that CHANDLER_HOME names. Begin with [bold]chandler ingest[/bold] or [bold]chandler import[/bold], then look "
        "at [bold]chandler status[/bold]."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
for command in (ingest, repair, status, quality, revisions, audit, maintain, feeds, exchanges, replay):
    app.command()(command)
app.command("import")(import_candles)
app.add_typer(alerts.app, name="alerts")
app.add_typer(archive.app, name="archive")
app.add_typer(incidents.app, name="incidents")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(warehouse.app, name="warehouse")


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each step does.")] = False,
) -> None:
    set_up_logs(err, verbose=verbose)


@cache
def whole_app() -> typer.Typer:
    """Return all commands, with those that others hang in by the entry points of `chandler.commands`."""
    for point in entry_points(group="chandler.commands"):
        point.load()(app)
    refuse_repeats(app)
    reflow(app)
    return app


def main() -> None:
    """Run the command; errors that are ours are one line, and their kind is the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal, or a file, that cannot hold what a note or a chart has gets a question mark.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with ending_as_interrupts():
            whole_app()()
    except ConfigError as error:
        complain(error)
        sys.exit(2)
    except ChandlerError as error:
        complain(error)
        sys.exit(1)
    except OSError as error:
        # Whatever was to be written, and by whichever library.
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        complain(f"the disk is full: {error.filename or error.strerror}; make room and run this again")
        sys.exit(1)
