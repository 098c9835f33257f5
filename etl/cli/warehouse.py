"""The commands of the warehouse itself: what it runs on, what it takes, and what it can be given."""

from __future__ import annotations

import typer

from etl.cli.rebuilding import rebuild
from etl.cli.terminal import AsJson, opened_stores, out

app = typer.Typer(invoke_without_command=True, help="What the warehouse runs on and how large it is. Alone: show.")
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
    with opened_stores() as stores:
        facts = {"address": stores.warehouse.address}
    if as_json:
        out.print_json(data=facts)
    else:
        out.print(facts["address"], markup=False)
