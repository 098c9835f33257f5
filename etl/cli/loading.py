"""Commands that load candles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from etl.cli.terminal import AsJson, End, Start, complain, err, out, read_settings, run_name
from etl.errors import ConfigError, StoreLostError
from etl.series import Series
from etl.settings import Settings
from etl.spelling import counted, parse_moment

if TYPE_CHECKING:
    from etl.archive import Fallback
    from etl.pipeline import Wanted
    from etl.progress import Bars
    from etl.stores import Stores


_SERIES = "exchange:symbol:timeframe, such as binance:BTC/USDT:1m; or name a feed by --feed."


def ingest(
    series: Annotated[list[str] | None, typer.Argument(help=_SERIES, show_default=False)] = None,
    feed: Annotated[
        str | None,
        typer.Option(help="Every series of this feed, instead of some by name.", show_default=False),
    ] = None,
    start: Start = None,
    end: End = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch also what is accounted for already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch, clean and load candles. What is accounted for already is left out, so a run that was cut off goes on.

    Name series, which then need --start, or a feed: without --start that begins at the feed's start. Without --end: up
    to the last candle that has closed.

    Example: [bold]chandler ingest binance:BTC/USDT:1m --start 2024-01-01 --end 2024-02-01[/bold]
    """
    settings = read_settings()
    wanted, settle = _wanted_series(settings, series or [], feed)
    begin = parse_moment(start) if start else settings.feed(feed).start if feed else None
    if begin is None:
        raise ConfigError(f"say from when: --start 2024-01-01, or --feed, whose start is in {settings.path}")
    finish = parse_moment(end) if end else None
    if finish is not None and finish <= begin:
        raise ConfigError(f"--end {end} is not after the start, {begin:%Y-%m-%d %H:%M}")
    from etl.fallbacks import warning_of
    from etl.pipeline import Wanted
    from etl.progress import Bars
    from etl.stores import open_stores

    with open_stores(settings) as stores, Bars(wanted, err) as bars:
        asked = Wanted(wanted, begin, finish, None if again else settle, run_name())
        waiting = _ingest(stores, asked, bars)
    outcome = bars.outcome
    if as_json:
        out.print_json(data=outcome.to_json())
    elif not outcome.loads and not outcome.failures:
        err.print("Everything in that range is accounted for already; --again fetches it once more.")
    elif outcome.loads:
        out.print(outcome.to_table())
    if outcome.left_out and not as_json:
        err.print(f"Loaded by another process meanwhile: {counted(len(outcome.left_out), 'range')}.")
    for fallback in waiting:
        err.print(Text(warning_of(fallback), style="yellow"), soft_wrap=True)
    for failure in outcome.failures:
        complain(failure)
    if outcome.failures:
        raise typer.Exit(1)


def _ingest(stores: Stores, asked: Wanted, bars: Bars) -> list[Fallback]:
    """Ingest what is asked for; return the candles that wait to become Parquet."""
    from etl.fallbacks import waiting_fallbacks
    from etl.pipeline import ingest_all

    try:
        ingest_all(stores, asked, bars)
        return waiting_fallbacks(stores, asked.series)
    except StoreLostError as error:
        # Said once, whatever was under way; what was loaded before is told all the same.
        bars.outcome.failures[:] = [error]
        return []


def _wanted_series(settings: Settings, texts: Sequence[str], feed: str | None) -> tuple[list[Series], timedelta]:
    if bool(texts) == bool(feed):
        raise ConfigError("name either series, such as binance:BTC/USDT:1m, or a feed: --feed majors")
    if feed:
        return list(settings.feed(feed).series), settings.feed(feed).settle
    wanted = [Series.parse(text) for text in texts]
    for one in wanted:
        settings.check_series(one)
    return wanted, timedelta(0)
