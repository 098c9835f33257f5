"""What an answer leaves to be asked for. Pure: a killed walk comes to the same conclusions again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from etl.exchanges import BULK_LAYOUT, Layout, Order, Traits
from etl.extract.source import Page, Route
from etl.extract.trades import rest_of_trades
from etl.schema import TimeRange
from etl.timeframe import Timeframe


def rest_of(page: Page, rows: Sequence[Any], traits: Traits) -> list[TimeRange]:
    """Return the windows to ask for after `page`, ascending; none if it says all there is.

    Args:
        rows: The page's.
    """
    if page.route is Route.TRADES:
        rest = rest_of_trades(page)
        return [] if rest is None else [rest]
    if page.route is Route.BULK:
        return _missing_windows(page, rows, traits.page_limit)
    return _halves(page, rows, traits)


def is_poor(page: Page, traits: Traits) -> bool:
    """Return whether a candle is missing that the exchange should print. It may be an outage, or a bad answer."""
    if page.route is not Route.CANDLES or not traits.prints_empty:
        return False
    return not _is_complete(page, page.rows(), traits)


def _halves(page: Page, rows: Sequence[Any], traits: Traits) -> list[TimeRange]:
    """Cut a window in two if its answer is full and yet does not reach over it, as when rows stand there twice."""
    width_ms = page.series.timeframe.ms
    candles = page.window.count(page.series.timeframe)
    if len(rows) < traits.page_limit or candles < 2:
        return []
    # An exchange that sends all up to now has reached over the window once it has passed its end.
    if _is_complete(page, rows, traits) or max(_open_times(rows, traits.layout), default=0) >= page.window.end_ms:
        return []
    middle_ms = page.window.start_ms + candles // 2 * width_ms
    return [TimeRange.from_ms(page.window.start_ms, middle_ms), TimeRange.from_ms(middle_ms, page.window.end_ms)]


def _missing_windows(page: Page, rows: Sequence[Any], page_limit: int) -> list[TimeRange]:
    """Return the windows of the API's size in which a file lacks a candle: files have holes of their own."""
    width_ms = page.series.timeframe.ms
    missing = sorted(_grid(page.window, page.series.timeframe) - _open_times(rows, BULK_LAYOUT))
    windows: list[TimeRange] = []
    for at_ms in missing:
        if not windows or at_ms >= windows[-1].start_ms + page_limit * width_ms:
            windows.append(TimeRange.from_ms(at_ms, at_ms + width_ms))
        else:
            windows[-1] = TimeRange.from_ms(windows[-1].start_ms, at_ms + width_ms)
    return windows


def _is_complete(page: Page, rows: Sequence[Any], traits: Traits) -> bool:
    """Return whether the page has every candle of its window."""
    layout, window, width_ms = traits.layout, page.window, page.series.timeframe.ms
    if layout.unit_ms is not None and len(rows) * width_ms == window.end_ms - window.start_ms:
        # The usual page is just the grid, in one order or the other: seen at a glance.
        place, step = layout.columns["open_time"], -1 if traits.order is Order.DESCENDING else 1
        grid = range(*(bound // layout.unit_ms for bound in (window.start_ms, window.end_ms, width_ms)))
        if [row[place] if type(row) is list and row else None for row in rows[::step]] == list(grid):
            return True
    return _grid(window, page.series.timeframe) <= _open_times(rows, layout)


def _grid(window: TimeRange, timeframe: Timeframe) -> set[int]:
    return set(range(window.start_ms, window.end_ms, timeframe.ms))


def _open_times(rows: Iterable[Any], layout: Layout) -> set[int]:
    return {at_ms for row in rows if (at_ms := layout.open_time_ms(row)) is not None}
