"""Requests of a check for candles, and the reading of the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from etl.errors import SourceError
from etl.exchanges import Bound, Traits
from etl.extract import Page, Route, Source
from etl.feeds import ANY_PROTOCOL
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe

_BETWEEN = 10  # candles in the window whose bounds are looked at
_LEAST_SLACK = 10


@dataclass(slots=True)
class Venue:
    """An exchange under check.

    Attributes:
        series: Whose candles are asked for, at the finest timeframe.
        is_known: Whether it is of the table, or anything that ccxt knows.
        has_clock: Whether it tells its time.
        known: When the candles of a full page opened, milliseconds; ascending. Empty until one was asked for.
    """

    source: Source
    series: Series
    is_known: bool
    has_clock: bool
    known: list[int] = field(default_factory=list)

    @property
    def traits(self) -> Traits:
        """The traits of the table."""
        return self.source.traits

    @property
    def width_ms(self) -> int:
        """The width of the candles that are asked for, in milliseconds."""
        return self.series.timeframe.ms

    async def page(self, window: TimeRange, timeframe: Timeframe | None = None) -> Page:
        """Ask once for what opens in `window`.

        Raises:
            SourceError: The exchange did not give it.
        """
        series = replace(self.series, timeframe=timeframe or self.series.timeframe)
        return await self.source.fetch_page(series, window, Route.CANDLES)

    async def last_closed(self, count: int) -> TimeRange:
        """Return the range of the last `count` candles that have closed."""
        end_ms = await self.source.clock_ms() // self.width_ms * self.width_ms
        return TimeRange.from_ms(end_ms - count * self.width_ms, end_ms)

    async def window_ago(self, ago: int, count: int, timeframe: Timeframe | None = None) -> TimeRange:
        """Return the range of the `count` candles of which the first opened `ago` candles before the one that forms."""
        width_ms = (timeframe or self.series.timeframe).ms
        start_ms = (await self.source.clock_ms() // width_ms - ago) * width_ms
        return TimeRange.from_ms(start_ms, start_ms + count * width_ms)

    async def serves(self, ago: int, count: int, timeframe: Timeframe | None = None) -> bool:
        """Return whether there are candles in `window_ago`; a refusal is a no.

        Raises:
            SourceError: It failed in a way that says nothing.
        """
        try:
            page = await self.page(await self.window_ago(ago, count, timeframe), timeframe)
        except SourceError as error:
            if error.is_retryable:
                raise
            return False
        return bool(self.times_inside(page))

    def times(self, page: Page) -> list[int]:
        """Return when the rows open, milliseconds, in the order of the answer."""
        layout = self.traits.layout
        return [at_ms for row in page.rows() if (at_ms := layout.open_time_ms(row)) is not None]

    def times_inside(self, page: Page) -> list[int]:
        """Return those that open in the window that was asked for."""
        return [at_ms for at_ms in self.times(page) if page.window.start_ms <= at_ms < page.window.end_ms]

    def reaches_over(self, page: Page) -> bool:
        """Return whether an answer goes from one end of its window to the other, but for a few candles."""
        times = self.times_inside(page)
        slack_ms = max(_LEAST_SLACK, page.window.count(page.series.timeframe) // 20) * self.width_ms
        start_ms, end_ms = page.window.start_ms + slack_ms, page.window.end_ms - slack_ms
        return bool(times) and min(times) <= start_ms and max(times) >= end_ms

    def window_between_candles(self) -> TimeRange:
        """Return a window of some candles at whose bounds, and just before them, there are candles.

        Raises:
            SourceError: There is none.
        """
        known = set(self.known)
        for start_ms in reversed(self.known[: -2 * _BETWEEN]):
            end_ms = start_ms + _BETWEEN * self.width_ms
            if {start_ms - self.width_ms, start_ms, end_ms - self.width_ms, end_ms} <= known:
                return TimeRange.from_ms(start_ms, end_ms)
        raise SourceError("too few candles to tell; try another --symbol")

    def sent(self, window: TimeRange) -> tuple[int, int | None]:
        """Return the moments that the dialect's question for `window` names: from when, and until when if it says.

        As `etl.extract.dialects` has it.
        """
        traits = self.traits
        if traits.dialect == "binance":
            return window.start_ms, window.end_ms - 1
        if traits.dialect == "coinbase":
            return window.start_ms, window.end_ms - self.width_ms
        if traits.dialect == "kraken":
            return window.start_ms - self.width_ms, None
        if traits.until is Bound.IGNORED:
            return window.start_ms, None
        return window.start_ms, window.end_ms - (1 if traits.until is Bound.INCLUSIVE else 0)


def has_clock(traits: Traits) -> bool:
    """Return whether the exchange tells its time."""
    if traits.dialect != ANY_PROTOCOL:
        return True
    import ccxt

    return bool(getattr(ccxt, traits.ccxt_id)().has["fetchTime"])


def our_ms() -> int:
    """Return our own clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
