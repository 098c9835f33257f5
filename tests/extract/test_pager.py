"""The walk over a range, against a source of our own that does what bad venues do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from etl.errors import SourceUnavailableError, StoreError
from etl.extract import Page, RawPartition, RawStore, fetch_range, read_pages
from etl.schema import Series, TimeRange
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START, kline

ORIGIN_MS = to_ms(START)
LIMIT = 10
RANGE = TimeRange(START, from_ms(ORIGIN_MS + 95 * 60_000))


class Venue:
    """A source that holds `rows`, returns at most ten of a window, and counts what it is asked."""

    page_limit = LIMIT

    def __init__(self, rows: Sequence[list[object]]) -> None:
        self.rows = rows
        self.asked: list[TimeRange] = []
        self.at_once = 0
        self.most_at_once = 0
        self.fails_from: int | None = None

    async def clock_ms(self) -> int:
        """Return a moment long after everything has closed."""
        return RANGE.end_ms + 10**9

    async def symbols(self) -> Sequence[str]:
        """Return the one symbol."""
        return ["BTC/USDT"]

    async def fetch_page(self, series: Series, window: TimeRange) -> Page:
        """Return at most ten of the window's rows, or fail."""
        self.asked.append(window)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.fails_from is not None and len(self.asked) > self.fails_from:
            raise SourceUnavailableError("gone")
        inside = [row for row in self.rows if window.start_ms <= row[0] < window.end_ms]  # type: ignore[operator]
        return Page(series, window, await self.clock_ms(), json.dumps(inside[: self.page_limit]))


def rows(minutes: Sequence[int]) -> list[list[object]]:
    """Return a row for each minute after the origin."""
    return [kline(ORIGIN_MS + minute * 60_000) for minute in minutes]


def fetched(raw: RawPartition) -> list[int]:
    """Return the minutes of all rows on disk, in the order of their pages."""
    pages = read_pages(raw, LIMIT)
    return [(row[0] - ORIGIN_MS) // 60_000 for page in pages for row in page.rows()]


@pytest.fixture
def raw(tmp_path: Path) -> RawPartition:
    """An empty partition."""
    return RawStore(tmp_path).partition(BTC, RANGE)


def test_empty_pages_do_not_end_the_walk(raw: RawPartition) -> None:
    """Candles behind hours without any are found, and what was asked for depends on the range alone."""
    venue = Venue(rows([0, 1, 94]))
    report = asyncio.run(fetch_range(venue, raw, pages_at_once=3))
    assert fetched(raw) == [0, 1, 94]
    assert (report.pages, report.asked, report.rows) == (10, 10, 3)
    assert sorted(venue.asked) == list(RANGE.windows(LIMIT * 60_000))
    assert venue.most_at_once == 3


def test_a_page_that_is_cut_short_is_halved_until_nothing_is_lost(raw: RawPartition) -> None:
    """Where a venue repeats rows and so cannot show a window in one page, the rest is asked for."""
    repeated = rows([minute for minute in range(95) for _ in range(1 + 2 * (20 <= minute < 40))])
    asyncio.run(fetch_range(Venue(repeated), raw, pages_at_once=4))
    assert set(fetched(raw)) == set(range(95))


def test_what_arrived_before_a_failure_is_not_asked_for_again(raw: RawPartition) -> None:
    """After a failure in the middle, a rerun asks for the missing pages alone."""
    venue = Venue(rows(range(95)))
    venue.fails_from = 4
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SourceUnavailableError):
        patch.setattr("etl.extract.pager._wait", lambda state: 0.0)
        asyncio.run(fetch_range(venue, raw, pages_at_once=2))
    with pytest.raises(StoreError, match="fetch this partition first"):
        read_pages(raw, LIMIT)
    again = Venue(rows(range(95)))
    report = asyncio.run(fetch_range(again, raw, pages_at_once=2))
    assert report.asked == len(again.asked) == 10 - 4
    assert fetched(raw) == list(range(95))


def test_a_page_of_yesterday_is_asked_for_again(raw: RawPartition) -> None:
    """What a try that failed long ago has left on disk may be corrected by now; what is fresh is as good as new."""
    venue = Venue(rows(range(95)))
    windows = list(RANGE.windows(LIMIT * 60_000))
    now_ms = asyncio.run(venue.clock_ms())
    for window, age_ms in zip(windows[:2], (3_600_000, 25 * 3_600_000), strict=True):
        raw.write_page(Page(BTC, window, now_ms - age_ms, "[]"))
    asyncio.run(fetch_range(venue, raw, pages_at_once=2))
    assert windows[0] not in venue.asked
    assert fetched(raw) == list(range(10, 95))


def test_a_page_is_on_disk_wholly_or_not_at_all(raw: RawPartition, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses in the middle, there is an error, no page and no leftover."""
    page = Page(BTC, RANGE, 0, "[]")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StoreError, match="No space left.*make room"):
        raw.write_page(page)
    assert raw.read_page(RANGE) is None
    assert not [path for path in raw.folder.rglob("*") if path.is_file()]
