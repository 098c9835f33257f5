"""Commands that tell how good the candles are, and what has become of them."""

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
    out,
    stores_to_read,
    tell_nothing_loaded,
    to_range,
)
from etl.series import Series


def quality(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    by: Annotated[Literal["day", "month", "all"], typer.Option(help="What a line stands for.")] = "day",
    as_json: AsJson = False,
) -> None:
    """Show, by day or month: expected, stored, absent by kind, refused and flagged by rule, revisions.

    Days are those of UTC; each that the range touches counts whole. [bold]unjudged[/bold] are candles before which too
    few traded for the rules about outliers; [bold]revisions[/bold] are values that the exchange changed.

    Example: [bold]chandler quality binance:BTC/USDT:1m --start 2024-01-01 --by month[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl import show
    from etl.quality import Period, report_quality, undated_lines

    with stores_to_read() as stores:
        reports = report_quality(stores.warehouse, only, within, Period(by))
        check_known(only, (one.series for one in reports), stores.archive.series())
    if as_json:
        out.print_json(data=show.quality_json(reports))
    elif reports:
        out.print(show.quality_table(reports))
        for line in undated_lines(reports):
            err.print(line, soft_wrap=True, markup=False)
    else:
        tell_nothing_loaded(stores.settings)


def revisions(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the latest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what exchanges have changed after it was stored: old and new values, when, and by which run.

    Example: [bold]chandler revisions binance:BTC/USDT:1m --limit 20[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl import show
    from etl.warehouse import known_series, read_revisions

    with stores_to_read() as stores, stores.warehouse.begin() as connection:
        check_known(only, known_series(connection))
        found = read_revisions(connection, only, within, limit)
    if as_json:
        out.print_json(data=show.revisions_json(found))
    elif found:
        out.print(show.revisions_table(found))
    else:
        err.print("No candle was revised.")
