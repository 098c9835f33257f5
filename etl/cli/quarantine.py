"""The commands of quarantine: what was refused, why, and what a person says to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from etl.cli.terminal import (
    AsJson,
    End,
    SomeSeries,
    Start,
    check_known,
    complain,
    err,
    opened_stores,
    out,
    run_name,
    stores_to_read,
    tell_none,
    to_range,
)
from etl.errors import ConfigError, DataQualityError
from etl.series import Series
from etl.spelling import parse_moment

if TYPE_CHECKING:
    from datetime import datetime

    from etl.quarantine import Reading
    from etl.stores import Stores
    from etl.warehouse import Quarantined

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
    rows: Annotated[
        list[int] | None, typer.Argument(help="The rows' numbers, from the list; or --series.", show_default=False)
    ] = None,
    note: Note = None,
    at: Annotated[
        str | None,
        typer.Option(help="When a row opens that may be of two times, such as 2024-10-27T01:00.", show_default=False),
    ] = None,
    is_first: Annotated[
        bool | None,
        typer.Option(
            "--first/--second", help="Rows that may be of two times are of the earlier, or later.", show_default=False
        ),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="Instead of numbers: all its open rows that may be of two times.", show_default=False),
    ] = None,
    of_run: Annotated[
        str | None,
        typer.Option("--run", help="Of these, those of a run, such as an import; show names it.", show_default=False),
    ] = None,
    start: Start = None,
    end: End = None,
) -> None:
    """Let refused rows be candles: judged without the rule that refused them, stored, and flagged as released.

    Final. A candle that is stored in its place is revised; a later fetch that refuses the row again changes nothing.
    A local time that the clock shows twice may be either of two candles: --at says which, in UTC; --first or --second
    says it of many rows at once. With --series, --start and --end keep to rows that may be of that range, and --run
    keeps to those of one file.

    Example: [bold]chandler quarantine release 17 --note "the wick was real"[/bold]

    Example: [bold]chandler quarantine release --series kraken:BTC/USD:1m --first --start 2024-10-27[/bold]
    """
    from etl.quarantine import Reading, rows_of, undecided_rows

    if (series is None) == (not rows):
        raise ConfigError("name either --series or rows, by their numbers: chandler quarantine list")
    if at is not None and is_first is not None:
        raise ConfigError("--at, --first and --second say the same; give one of them")
    if series is not None and is_first is None:
        raise ConfigError("with --series, say which of two times its rows are of: --first or --second")
    within = to_range(start, end)
    if rows and (within is not None or of_run is not None):
        raise ConfigError("--start, --end and --run belong to --series; leave them out where rows are named")
    reading = None if is_first is None else Reading.FIRST if is_first else Reading.SECOND
    with opened_stores() as stores:
        if series is None:
            wanted = rows_of(stores, rows or [])
        else:
            wanted = undecided_rows(stores, Series.parse(series), within, of_run)
            if not wanted:
                tell_none("refused row", is_filtered=True)
                return
        is_well = _release(stores, wanted, note, reading if at is None else parse_moment(at))
    if not is_well:
        raise typer.Exit(1)


def _release(stores: Stores, rows: Sequence[Quarantined], note: str | None, at: datetime | Reading | None) -> bool:
    """Release rows, each by itself, and judge what is absent since. Returns whether all went well.

    Raises:
        ChandlerError: The only row cannot be released, or a store refuses or went away; what was released is judged.
    """
    from etl.accounting import account_for_loads
    from etl.quarantine import release as release_row

    run, is_well = run_name(), True
    try:
        for row in rows:
            try:
                report = release_row(stores, row.id, note, run, at)
            except (ConfigError, DataQualityError) as error:
                if len(rows) == 1:
                    raise
                complain(error)
                is_well = False
                continue
            done = "new" if report.new else "revised" if report.revised else "stored already as it is"
            out.print(f"row {row.id} is released: its candle is {done}")
    finally:
        # Why a candle is absent that a row was not, after all.
        for exchange in sorted({row.series.exchange for row in rows}):
            for failure in account_for_loads(stores, exchange, run).failures.values():
                complain(failure)
                is_well = False
    return is_well


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
