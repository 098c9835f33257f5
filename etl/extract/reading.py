"""Reading of an answer, and what it leaves to be asked for. Pure: a killed walk comes to the same conclusions again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from etl.exchanges import BULK_LAYOUT, Layout, Traits
from etl.extract.source import Page, Route
from etl.extract.trades import rest_of_trades
from etl.series import TimeRange
from etl.spelling import counted
from etl.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class Reading:
    """Meaning of a page.

    Attributes:
        rows: How many there are.
        rest: The windows to ask for after it, ascending; none if it says all there is.
        missing: How many candles are not there that the exchange should print: an outage, or a bad answer.
        oddities: What is strange about it and yet does no harm, for the log.
    """

    rows: int
    rest: tuple[TimeRange, ...] = ()
    missing: int = 0
    oddities: tuple[str, ...] = ()

    @property
    def is_poor(self) -> bool:
        """True if it is worth asking once more."""
        return self.missing > 0


def read(page: Page, traits: Traits) -> Reading:
    """Look at a page.

    Raises:
        MalformedPayloadError: It holds no rows, or trades that cannot be paged past.
    """
    rows = page.rows()
    if page.route is Route.TRADES:
        rest = rest_of_trades(page)
        return Reading(len(rows), () if rest is None else (rest,))
    if page.route is Route.BULK:
        return Reading(len(rows), _missing_windows(page, rows, traits.page_limit))
    if _is_just_the_grid(page, rows, traits):
        return Reading(len(rows))
    grid, times = _grid(page.window, page.series.timeframe), _open_times(rows, traits.layout)
    missing = grid.difference(times)
    rest_windows = _halves(page) if _is_cut_short(page, len(rows), missing, times, traits) else ()
    is_poor = traits.prints_empty and not rest_windows
    return Reading(len(rows), rest_windows, len(missing) if is_poor else 0, _oddities(times, traits))


def _is_just_the_grid(page: Page, rows: Sequence[Any], traits: Traits) -> bool:
    """Return whether the page has the candles of its window and no others, in the usual order: at a glance."""
    layout, window, width_ms = traits.layout, page.window, page.series.timeframe.ms
    if layout.unit_ms is None or len(rows) * width_ms != window.end_ms - window.start_ms:
        return False
    place, step = layout.columns["open_time"], -1 if traits.is_newest_first else 1
    grid = range(*(bound // layout.unit_ms for bound in (window.start_ms, window.end_ms, width_ms)))
    return [row[place] if type(row) is list and row else None for row in rows[::step]] == list(grid)


def _is_cut_short(page: Page, rows: int, missing: set[int], times: Sequence[int], traits: Traits) -> bool:
    """Return whether the answer is full and yet does not reach over its window, as when rows stand there twice."""
    is_full = rows >= traits.page_limit and page.window.count(page.series.timeframe) > 1
    # An exchange that sends all up to now has reached over the window once it has passed its end.
    return is_full and bool(missing) and max(times, default=0) < page.window.end_ms


def _halves(page: Page) -> tuple[TimeRange, ...]:
    width_ms = page.series.timeframe.ms
    middle_ms = page.window.start_ms + page.window.count(page.series.timeframe) // 2 * width_ms
    return TimeRange.from_ms(page.window.start_ms, middle_ms), TimeRange.from_ms(middle_ms, page.window.end_ms)


def _missing_windows(page: Page, rows: Sequence[Any], page_limit: int) -> tuple[TimeRange, ...]:
    """Return the windows of the API's size in which a file lacks a candle: files have holes of their own."""
    width_ms = page.series.timeframe.ms
    windows: list[TimeRange] = []
    for at_ms in sorted(_grid(page.window, page.series.timeframe).difference(_open_times(rows, BULK_LAYOUT))):
        if not windows or at_ms >= windows[-1].start_ms + page_limit * width_ms:
            windows.append(TimeRange.from_ms(at_ms, at_ms + width_ms))
        else:
            windows[-1] = TimeRange.from_ms(windows[-1].start_ms, at_ms + width_ms)
    return tuple(windows)


def _oddities(times: Sequence[int], traits: Traits) -> tuple[str, ...]:
    ascending = times[::-1] if traits.is_newest_first else times
    twice = len(times) - len(set(times))
    found = {
        f"{counted(twice, 'candle')} {'is' if twice == 1 else 'are'} there more than once": twice > 0,
        "the rows are out of order": list(ascending) != sorted(times),
    }
    return tuple(text for text, is_so in found.items() if is_so)


def _grid(window: TimeRange, timeframe: Timeframe) -> set[int]:
    return set(range(window.start_ms, window.end_ms, timeframe.ms))


def _open_times(rows: Iterable[Any], layout: Layout) -> list[int]:
    return [at_ms for row in rows if (at_ms := layout.open_time_ms(row)) is not None]
