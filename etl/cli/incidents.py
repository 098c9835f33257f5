"""The commands of incidents: what was strange, what it was judged by, who was told, and what a person says to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import typer
from rich.text import Text

from etl.cli.terminal import (
    AsJson,
    End,
    SomeSeries,
    Start,
    check_known,
    err,
    opened_stores,
    out,
    run_name,
    stores_to_read,
    tell_none,
    to_range,
)
from etl.errors import ConfigError
from etl.incidents import IncidentState, Kind, Scope, Severity
from etl.series import Series
from etl.spelling import counted, nearest

app = typer.Typer(
    invoke_without_command=True,
    help="Look at incidents; acknowledge them, or say which were false alarms. Without a command: list.",
)

_SEE_HISTORY = "see chandler incidents list --history"

Id = Annotated[int, typer.Argument(help="The incident's number, from the list.", show_default=False)]
Ids = Annotated[list[int], typer.Argument(help="The incidents' numbers, from the list.", show_default=False)]
Note = Annotated[str, typer.Option(help="Why; kept with the incident.", show_default=False)]


@app.callback()
def _list_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_all()


@app.command("list")
def list_all(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    severity: Annotated[
        Literal["low", "high", "critical"] | None, typer.Option(help="At least that.", show_default=False)
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="What it looks like, such as crash; several.", show_default=False)
    ] = None,
    scope: Annotated[
        Literal["market", "venue", "unconfirmed"] | None, typer.Option(help="Who saw it.", show_default=False)
    ] = None,
    state: Annotated[
        Literal["open", "updated", "closed", "withdrawn"] | None,
        typer.Option(help="What has become of it.", show_default=False),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Also what backfills and repairs brought up.")
    ] = False,
    unacknowledged: Annotated[
        bool, typer.Option("--unacknowledged", help="Only those that nobody has acknowledged.")
    ] = False,
    false: Annotated[bool, typer.Option("--false", help="Only those that a person called false alarms.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the latest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List incidents, the latest first: when, what it looks like, who saw it, how seldom it is, who has said what.

    Example: [bold]chandler incidents list binance:BTC/USDT:1m --severity high --unacknowledged[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within, kinds = to_range(start, end), _kinds(kind or [])
    from etl import show
    from etl.warehouse import Wish, count_incidents, known_series, list_incidents

    wish = Wish(
        only or None,
        within,
        None if severity is None else Severity(severity),
        kinds,
        None if scope is None else Scope(scope),
        [] if state is None else [IncidentState(state)],
        None if history else False,
        False if unacknowledged else None,
        True if false else None,
    )
    with stores_to_read() as stores, stores.warehouse.begin() as connection:
        check_known(only, known_series(connection))
        found = list_incidents(connection, wish, limit)
        more = count_incidents(connection, wish) - len(found)
        hidden = 0 if history else count_incidents(connection, replace(wish, is_history=True))
    if as_json:
        out.print_json(data=[show.incident_json(one) for one in found])
        return
    if found:
        out.print(show.incidents_table(found))
    elif hidden:
        err.print(f"No news; {counted(hidden, 'incident')} of history, of which nobody was told: {_SEE_HISTORY}")
    else:
        tell_none("incident", is_filtered=wish != Wish(kinds=[], states=[], is_history=wish.is_history))
    if more > 0:
        err.print(f"{more:,} more; see chandler incidents list --limit")
    if found and hidden:
        err.print(f"{hidden:,} more of history, of which nobody was told; {_SEE_HISTORY}")


@app.command("show")
def show_one(incident: Id, as_json: AsJson = False) -> None:
    """Show an incident: its evidence, the candles around it, other venues, who was told, and what became of it.

    Example: [bold]chandler incidents show 17[/bold]
    """
    from etl.dossiers import open_dossier
    from etl.show import dossier_json, dossier_parts

    with stores_to_read() as stores:
        dossier = open_dossier(stores.warehouse, incident)
    if as_json:
        out.print_json(data=dossier_json(dossier))
    else:
        for part in dossier_parts(dossier, out.width):
            out.print(part, soft_wrap=isinstance(part, Text))


@app.command()
def acknowledge(incidents: Ids, note: Note = "") -> None:
    """Note that a person has seen incidents: no route tells of them again because nobody has.

    Example: [bold]chandler incidents acknowledge 17 18 --note "the exchange has announced it"[/bold]
    """
    from etl.warehouse import acknowledge as acknowledge_one

    with opened_stores() as stores, stores.warehouse.begin() as connection:
        for number in incidents:
            acknowledge_one(connection, number, note, run_name())
    for number in incidents:
        out.print(f"incident {number} is acknowledged")


@app.command("false")
def call_false(
    incidents: Ids,
    note: Note = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was said, whether false or true.")] = False,
) -> None:
    """Say that incidents were false alarms: the next report of the models counts them, and names them.

    Example: [bold]chandler incidents false 17 --note "it does so at every funding"[/bold]
    """
    _judge(incidents, note, is_false=None if undo else True)


@app.command("true")
def call_true(incidents: Ids, note: Note = "") -> None:
    """Say that incidents were rightly told of.

    Example: [bold]chandler incidents true 17 --note "a real bad print"[/bold]
    """
    _judge(incidents, note, is_false=False)


def _judge(incidents: list[int], note: str, *, is_false: bool | None) -> None:
    from etl.warehouse import find_incident, judge_incident

    with opened_stores() as stores, stores.warehouse.begin() as connection:
        for number in incidents:
            if is_false is None and find_incident(connection, number).is_false is None:
                raise ConfigError(f"nobody has called incident {number} false or true; there is nothing to take back")
            judge_incident(connection, number, note, run_name(), is_false=is_false)
    said = {True: "a false alarm", False: "a true alarm", None: "not judged any more"}[is_false]
    for number in incidents:
        out.print(f"incident {number} is {said}")


def _kinds(asked: list[str]) -> list[Kind]:
    if strange := [one for one in asked if one not in list(Kind)]:
        raise ConfigError(f"{strange[0]!r} is no kind of incident{nearest(strange[0], Kind)}")
    return [Kind(one) for one in asked]
