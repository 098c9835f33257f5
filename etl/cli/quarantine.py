"""The commands of quarantine: what was refused, why, and what a person says to it."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

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
from etl.series import Series
from etl.spelling import parse_moment

app = typer.Typer(
    invoke_without_command=True,
    help="Look at refused rows; release one, or confirm that it is no candle. Without a command: list.",
)

RowId = Annotated[int, typer.Argument(help="The row's number, from the list.", show_default=False)]
RowIds = Annotated[list[int], typer.Argument(help="The rows' numbers, from the list.", show_default=False)]
Note = Annotated[str | None, typer.Option(help="Why; kept with the row.", show_default=False)]


@app.callback()
def _list_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_rows()


@app.command("list")
def list_rows(
    series: SomeSeries = None,
    rule: Annotated[str | None, typer.Option(help="Refused by this rule.", show_default=False)] = None,
    state: Annotated[
        Literal["open", "released", "confirmed"] | None,
        typer.Option(help="What a person has said of it.", show_default=False),
    ] = None,
    start: Start = None,
    end: End = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the latest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List refused rows, with how many each rule has refused.

    Example: [bold]chandler quarantine list binance:BTC/USDT:1m --rule ohlc --state open[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl import show
    from etl.warehouse import State, Wanted, count_quarantine, known_series, read_quarantine

    wanted = Wanted(only, rule, [] if state is None else [State(state)], within)
    with stores_to_read() as stores, stores.warehouse.begin() as connection:
        check_known(only, known_series(connection))
        counts = count_quarantine(connection, wanted)
        rows = read_quarantine(connection, wanted, limit)
    if as_json:
        out.print_json(data={"counts": counts, "rows": show.quarantine_json(rows)})
    elif rows:
        err.print(show.quarantine_counts(counts))
        out.print(show.quarantine_table(rows))
        if (more := sum(counts.values()) - len(rows)) > 0:
            err.print(f"{more:,} more; see chandler quarantine list --limit")
    else:
        tell_none("refused row", is_filtered=bool(only or rule or state or within))


@app.command()
def show(row: RowId, as_json: AsJson = False) -> None:
    """Show a refused row: as received, the rule and its reason, what is stored in its place and around it.

    Example: [bold]chandler quarantine show 17[/bold]
    """
    from etl.quarantine import inspect
    from etl.show import inspection, inspection_json

    with stores_to_read() as stores:
        found = inspect(stores, row)
    if as_json:
        out.print_json(data=inspection_json(found))
    else:
        for part in inspection(found):
            out.print(part, soft_wrap=True)


@app.command()
def release(
    rows: RowIds,
    note: Note = None,
    at: Annotated[
        str | None,
        typer.Option(help="When a row opens that may be of two times, such as 2024-10-27T01:00.", show_default=False),
    ] = None,
) -> None:
    """Let refused rows be candles: judged without the rule that refused them, stored, and flagged as released.

    Final. A candle that is stored in its place is revised; a later fetch that refuses the row again changes nothing.
    A local time that the clock shows twice may be either of two candles: --at says which, in UTC.

    Example: [bold]chandler quarantine release 17 --note "the wick was real"[/bold]
    """
    from etl.accounting import account_for_loads
    from etl.quarantine import release as release_row

    with opened_stores() as stores:
        for row in rows:
            report = release_row(stores, row, note, run_name(), None if at is None else parse_moment(at))
            done = "new" if report.new else "revised" if report.revised else "stored already as it is"
            out.print(f"row {row} is released: its candle is {done}")
        if at is not None:
            account_for_loads(stores, None, run_name())  # why the candle is absent that it was not, after all


@app.command()
def confirm(rows: RowIds, note: Note = None) -> None:
    """Confirm that refused rows are no candles: no exchange is asked again for them.

    Example: [bold]chandler quarantine confirm 17 18 --note "a test market's print"[/bold]
    """
    from etl.quarantine import confirm as confirm_row

    with opened_stores() as stores:
        for row in rows:
            confirm_row(stores, row, note)
            out.print(f"row {row} is confirmed")
