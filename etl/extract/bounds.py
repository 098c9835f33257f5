"""Beginning and end of a series: found by looking at coarse candles first, never by walking empty years."""

from __future__ import annotations

import logging
from dataclasses import replace

from etl.errors import SourceError
from etl.extract.patience import fetch_patiently
from etl.extract.source import Bounds, Route, Source
from etl.extract.together import together
from etl.series import Series, TimeRange
from etl.timeframe import BEGINNING, from_ms

log = logging.getLogger(__name__)

_LEAST_SILENCE_MS = 24 * 3_600_000  # without a candle, before what is not traded is taken for delisted


async def find_bounds(source: Source, series: Series, known: Bounds) -> Bounds:
    """Return where the series begins and, if it is traded no more, ends.

    Args:
        known: What is not looked for again. An end holds as long as the exchange does not trade the series.

    Raises:
        SourceError: The exchange did not answer.
    """
    traits = source.traits
    is_over = not await source.is_trading(series.symbol)
    known = replace(known, end_ms=known.end_ms if is_over else None)
    if known.first_ms is not None and is_over == (known.end_ms is not None):
        return known
    if traits.rebuilds:
        return replace(known, first_ms=await _first_trade(source, series))
    found = await _search(source, series)
    if found is None:
        return known
    first_ms, end_ms = found
    # Exchanges say of all they list that it is not traded while they are at work on themselves.
    is_over = is_over and await source.clock_ms() - end_ms >= _LEAST_SILENCE_MS
    log.info("%s: its first candle opens at %s", series, TimeRange.from_ms(first_ms, end_ms).start)
    if is_over:
        log.warning("%s: traded no more; its last candle closed at %s", series, TimeRange.from_ms(first_ms, end_ms).end)
    return replace(known, first_ms=first_ms, end_ms=end_ms if is_over else None)


async def _first_trade(source: Source, series: Series) -> int | None:
    now_ms = await source.clock_ms()
    page = await fetch_patiently(source, series, TimeRange.from_ms(0, now_ms), Route.TRADES)
    times = [int(row[2] * 1000) for row in page.rows()[:1]]
    return times[0] // series.timeframe.ms * series.timeframe.ms if times else None


async def _search(source: Source, series: Series) -> tuple[int, int] | None:
    """Return the open time of the first candle and the close time of the last; None if there is none."""
    coarse = replace(series, timeframe=max(source.traits.timeframes, key=lambda timeframe: timeframe.ms))
    whole = TimeRange(BEGINNING, from_ms(await source.clock_ms()))
    times = await _served_times(source, coarse, whole)
    if not times or coarse == series:
        return (times[0], times[-1] + series.timeframe.ms) if times else None
    width_ms = coarse.timeframe.ms
    first = await _served_times(source, series, TimeRange.from_ms(times[0], times[0] + width_ms))
    last = await _served_times(source, series, TimeRange.from_ms(times[-1], times[-1] + width_ms))
    if first is None or last is None:
        # Fine candles are not served as far back as coarse ones: to the day is better than not at all.
        return first[0] if first else times[0], last[-1] + series.timeframe.ms if last else times[-1] + width_ms
    return (first[0], last[-1] + series.timeframe.ms) if first and last else None


async def _served_times(source: Source, series: Series, time_range: TimeRange) -> list[int] | None:
    """Return when candles open in a range, ascending; None if the exchange refuses to say."""
    try:
        return await _open_times(source, series, time_range)
    except SourceError as error:
        if error.is_retryable:
            raise
        log.info("%s: cannot look for its first candle in %s (%s)", series, time_range, error.message)
        return None


async def _open_times(source: Source, series: Series, time_range: TimeRange) -> list[int]:
    windows = time_range.windows(source.traits.page_limit * series.timeframe.ms)
    pages = await together(fetch_patiently(source, series, window) for window in windows)
    layout = source.traits.layout
    return sorted(at_ms for page in pages for row in page.rows() if (at_ms := layout.open_time_ms(row)) is not None)
