"""A source of our own for the pager's tests: holds rows, and does what bad venues do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from etl.errors import SourceUnavailableError
from etl.exchanges import EXCHANGES, Traits
from etl.extract import Bounds, FetchReport, OnPage, Page, RawPartition, Route, fetch_range
from etl.extract.bulk import BulkFile
from etl.series import Series, TimeRange
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START, kline

ORIGIN_MS = to_ms(START)
LIMIT = 10
RANGE = TimeRange(START, from_ms(ORIGIN_MS + 95 * 60_000))
WINDOW = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + LIMIT * 60_000)
NOW_MS = RANGE.end_ms + 10**9  # long after everything has closed
TRAITS = replace(EXCHANGES["binance"], page_limit=LIMIT)


class Venue:
    """A source that holds `rows`, returns at most ten of a window, and counts what it is asked.

    Attributes:
        asked: Windows of the series at 1m.
        searched: Windows at other timeframes.
    """

    def __init__(self, rows: Sequence[list[Any]], traits: Traits = TRAITS, *, is_traded: bool = True) -> None:
        self.traits = traits
        self.rows = rows
        self.is_traded = is_traded
        self.asked: list[TimeRange] = []
        self.searched: list[TimeRange] = []
        self.most_at_once = 0
        self.fails_from: int | None = None
        self.files: Sequence[BulkFile] = ()
        self.pages_of_files: dict[str, Page | None] = {}
        self.tampers: Callable[[TimeRange, list[Any]], list[Any]] = lambda window, rows: rows
        self.delay_s: Callable[[TimeRange], float] = lambda window: 0.0
        self._at_once = 0

    async def clock_ms(self) -> int:
        """Return a moment long after everything has closed."""
        return NOW_MS

    async def symbols(self) -> Sequence[str]:
        """Return the one symbol."""
        return ["BTC/USDT"]

    async def is_trading(self, symbol: str) -> bool:
        """Say what we were told."""
        return self.is_traded

    async def fetch_page(self, series: Series, window: TimeRange, route: Route | None = None) -> Page:
        """Return at most ten of the window's rows, or fail."""
        (self.asked if series.timeframe == "1m" else self.searched).append(window)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.delay_s(window))
        self._at_once -= 1
        if self.fails_from is not None and len(self.asked) > self.fails_from:
            raise SourceUnavailableError("gone")
        width_ms = series.timeframe.ms
        opens = {row[0] // width_ms * width_ms: row for row in self.rows}
        rows = self.rows if series.timeframe == "1m" else [[at, *row[1:]] for at, row in sorted(opens.items())]
        inside = [row for row in rows if window.start_ms <= row[0] < window.end_ms]
        answer = self.tampers(window, inside[: self.traits.page_limit])
        return Page(series, window, NOW_MS, json.dumps(answer), route or Route.CANDLES)

    async def bulk_files(self, series: Series, time_range: TimeRange) -> Sequence[BulkFile]:
        """Return the files that we were given."""
        return self.files

    async def fetch_bulk(self, series: Series, file: BulkFile) -> Page | None:
        """Return the page that we were given for the file."""
        return self.pages_of_files[file.path]


def rows(minutes: Sequence[int]) -> list[list[Any]]:
    """Return a row for each minute after the origin."""
    return [kline(ORIGIN_MS + minute * 60_000) for minute in minutes]


def walk(
    venue: Venue,
    raw: RawPartition,
    at_once: int = 4,
    known: Bounds | None = None,
    on_page: OnPage = lambda page, candles: None,
) -> FetchReport:
    """Fetch the partition from the venue."""

    async def run() -> FetchReport:
        return await fetch_range(venue, raw, places=asyncio.Semaphore(at_once), known=known, on_page=on_page)

    return asyncio.run(run())


def fetched(raw: RawPartition) -> list[int]:
    """Return the minutes of all rows on disk, in the order of their pages."""
    pages = raw.read_pages(raw.read_list())
    return [(row[0] - ORIGIN_MS) // 60_000 for page in pages for row in page.rows()]


__all__ = ["BTC", "LIMIT", "NOW_MS", "ORIGIN_MS", "RANGE", "TRAITS", "WINDOW", "Venue", "fetched", "rows", "walk"]
