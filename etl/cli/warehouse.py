"""The commands of the warehouse itself: what it runs on, what it takes, and what it can be given."""

from __future__ import annotations

import typer

from etl.cli.rebuilding import rebuild
from etl.cli.terminal import AsJson, err, opened_stores, out, stores_to_read
from etl.errors import ConfigError

app = typer.Typer(
    invoke_without_command=True,
    help="Show what the warehouse runs on; rebuild it, or adopt TimescaleDB. Without a command: show.",
)
app.command("rebuild")(rebuild)


@app.callback()
def _show_alone(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        show_warehouse(as_json=as_json)


@app.command("show")
def show_warehouse(as_json: AsJson = False) -> None:
    """Show where the warehouse is, what it makes use of and what it does not, and how large it is.

    Example: [bold]chandler warehouse --json[/bold]
    """
    from etl import show
    from etl.warehouse import HEAD, read_features, read_sizes

    with stores_to_read() as stores, stores.warehouse.begin() as connection:
        features = read_features(connection)
        facts = (stores.warehouse.address, HEAD, features, read_sizes(connection, features))
    if as_json:
        out.print_json(data=show.warehouse_json(*facts))
    else:
        out.print(show.warehouse_table(*facts))


@app.command("adopt")
def adopt_timescaledb() -> None:
    """Make use of TimescaleDB, if the server has it by now: chunks, compression, kept aggregates.

    Candles that are there are moved, while loads wait. Run twice it does nothing.

    Example: [bold]chandler warehouse adopt[/bold]
    """
    from etl.warehouse import adopt, refresh_aggregates

    with opened_stores() as stores:
        with err.status("moving candles into chunks"), stores.warehouse.begin() as connection:
            obstacle = adopt(connection, stores.settings.keep.uncompressed)
        if obstacle is not None:
            raise ConfigError(f"the warehouse stays as it is: {obstacle}")
        with err.status("counting coarser candles"):
            refresh_aggregates(stores.warehouse)
    show_warehouse()
