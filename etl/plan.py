"""Planning of requests: the partitions that a range lacks, what is to settle, and what an exchange can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from etl.archive import spans
from etl.errors import SourceError
from etl.extract import Source
from etl.feeds import Feed
from etl.fetching import open_exchange
from etl.series import Series, TimeRange, subtract
from etl.settings import Settings
from etl.spelling import nearest
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import covered_ranges, known_series

_Answer = TypeVar("_Answer")


def settling(stores: Stores, partition: Partition, settle: timedelta) -> Partition:
    """Return the partition, begun up to `settle` earlier where that was loaded before.

    Exchanges correct closed candles late: of those that closed within `settle` each is whole in what is asked for, so
    that `1d` settles within hours too. What was never loaded is left to its own partition.
    """
    covered = _covered(stores, partition.series)
    start, timeframe = partition.time_range.start, partition.series.timeframe
    earliest = max((span.start for span in covered if span.start < start <= span.end), default=start)
    begin = timeframe.floor(start - settle) if settle else start
    begin = begin if begin >= earliest else min(timeframe.ceil(earliest), start)
    return Partition(partition.series, TimeRange(begin, partition.time_range.end))


def plan(stores: Stores, series: Series, wanted: TimeRange, settle: timedelta | None) -> list[Partition]:
    """Return the partitions to ingest so that `wanted` is accounted for.

    Args:
        settle: What is accounted for already is left out, but for this much before each rest. None leaves nothing out.

    Returns:
        Ascending; each within one archive file, so that each file is rewritten once. The day that `wanted` ends in
        stands by itself: its end moves with the clock, and what was fetched before a kill is found by its range.
    """
    if settle is None:
        rest = [wanted]
    else:
        missing = subtract(wanted, _covered(stores, series))
        rest = [settling(stores, Partition(series, span), settle).time_range for span in missing]
    pieces = [piece for time_range in rest for piece in spans(series.timeframe, time_range)]
    midnight = Timeframe.D1.floor(wanted.end)
    return [Partition(series, part) for piece in pieces for part in _cut(piece, midnight)]


def closed_until(settings: Settings, series: Series) -> datetime:
    """Return the end of the last candle that has closed by the exchange's clock.

    Raises:
        SourceError: The exchange does not say.
    """

    async def ask(source: Source) -> int:
        return await source.clock_ms()

    return series.timeframe.floor(from_ms(_ask(settings, series.exchange, ask)))


def check_feed(settings: Settings, feed: Feed) -> list[str]:
    """Return what is wrong with a feed, a line each: its exchange cannot be reached, or does not trade a symbol."""

    async def ask(source: Source) -> list[str]:
        listed = await source.symbols()
        return [
            f"{feed.exchange} lists {symbol}, but does not trade it: it is halted or delisted"
            if symbol in listed
            else f"{feed.exchange} lists no {symbol}{nearest(symbol, listed)}"
            for symbol in feed.symbols
            if symbol not in listed or not await source.is_trading(symbol)
        ]

    try:
        return _ask(settings, feed.exchange, ask)
    except SourceError as error:
        return [f"{feed.exchange}: {error.message}"]


def _ask(settings: Settings, exchange: str, question: Callable[[Source], Awaitable[_Answer]]) -> _Answer:
    async def ask() -> _Answer:
        async with open_exchange(exchange, settings, None) as opened:
            return await question(opened.source)

    return asyncio.run(ask())


def _cut(time_range: TimeRange, at: datetime) -> list[TimeRange]:
    if time_range.start < at < time_range.end:
        return [TimeRange(time_range.start, at), TimeRange(at, time_range.end)]
    return [time_range]


def _covered(stores: Stores, series: Series) -> list[TimeRange]:
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection).get(series)
        return [] if series_id is None else covered_ranges(connection, series_id)
