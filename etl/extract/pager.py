"""The walk over a range: page by page, side by side, resumable, and never cut short by an empty page.

The range is cut into windows of as many candles as the exchange returns at once, so what is asked for depends on the
range alone: a killed walk finds its pages by their windows and asks only for the rest. Whole months that lie as a file
are taken from there, once a sample agrees with the API. An answer may leave something to be asked for: see
`etl.extract.reading`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from etl.errors import UnknownSymbolError
from etl.extract.bounds import find_bounds
from etl.extract.bulk import BulkFile
from etl.extract.patience import fetch_patiently
from etl.extract.raw import Fetched, PageKey, RawPartition
from etl.extract.reading import Reading, read
from etl.extract.sampling import differing, sample
from etl.extract.source import Bounds, Page, Route, Source
from etl.extract.together import together
from etl.extract.trades import has_trade_before, lead_windows
from etl.series import TimeRange
from etl.spelling import counted
from etl.timeframe import to_ms

log = logging.getLogger(__name__)

OnPage = Callable[[Page, int], None]

_REACH_STEP = 60  # candles
_FRESH_MS = 24 * 3_600_000  # what an earlier try has left for longer than this, the exchange may have corrected since


@dataclass(frozen=True, slots=True)
class FetchReport:
    """Result of a walk.

    Attributes:
        pages: Pages that make up the range.
        asked: Those that were asked for; the rest was on disk already.
        rows: Rows in them, as received.
    """

    pages: int
    asked: int
    rows: int


async def fetch_range(
    source: Source,
    raw: RawPartition,
    *,
    places: asyncio.Semaphore,
    known: Bounds | None = None,
    on_page: OnPage = lambda page, candles: None,
) -> FetchReport:
    """Bring every page of a partition into the raw store, and at last the list of them.

    Args:
        source: The exchange.
        raw: Where pages are kept; one that is there is not asked for, unless it is more than a day old. The range is
            closed by the exchange's clock; what is asked for begins and ends on the timeframe's grid.
        places: As many as requests may be under way side by side, here and elsewhere.
        known: Where the series begins and is said to have ended, if that is known. The end is asked about again.
        on_page: Called with each page, in the order of their arrival, and how many candles of the range it settles.

    Raises:
        SourceError: A page could not be had after some tries. Those that arrived are kept.
        StoreError: A page could not be written.
    """
    known = known or Bounds()
    asked_at_ms = await source.clock_ms()
    walk = _Walk(source, raw, places, on_page, known, replace(known, end_ms=None), asked_at_ms)
    pages = await walk.range()
    await asyncio.to_thread(raw.write_list, Fetched(tuple(pages), walk.bounds, walk.asked_at_ms))
    return FetchReport(len(pages), walk.asked, walk.rows)


@dataclass(slots=True)
class _Walk:
    source: Source
    raw: RawPartition
    places: asyncio.Semaphore
    on_page: OnPage
    known: Bounds
    bounds: Bounds
    asked_at_ms: int
    asked: int = 0
    rows: int = 0
    is_empty: dict[PageKey, bool] = field(default_factory=dict)
    compared: set[TimeRange] = field(default_factory=set)

    async def range(self) -> list[PageKey]:
        """Return the pages of the range, in the order of their windows."""
        series = self.raw.series
        files, windows = await self._files()
        windows = [window for window in windows if self.bounds.may_hold(window)]
        head = await self._page(windows[0]) if windows else []
        if (
            head
            and windows[0].start_ms == self._start_ms
            and (all(self.is_empty[key] for key in head) or self._may_begin_in(head))
        ):
            # Years before a listing, or after a delisting, are not walked; and what is from before is no outage.
            self.bounds = await find_bounds(self.source, series, self.known)
        rest = [window for window in windows[1:] if self.bounds.may_hold(window)]
        pages = [*head, *chain.from_iterable(await together(map(self._page, rest)))]
        is_tail_empty = bool(pages) and pages[-1].window.end_ms == self._end_ms and self.is_empty[pages[-1]]
        if is_tail_empty and not await self.source.is_trading(series.symbol):
            self.bounds = await find_bounds(self.source, series, self.known)
        return sorted([*await self._lead(pages), *files, *pages], key=lambda key: key.window.start)

    def _may_begin_in(self, head: Sequence[PageKey]) -> bool:
        """Return whether the series may have its first candle in these pages, later than the range begins."""
        if self.known.first_ms is not None or any(key.route is Route.TRADES for key in head):
            return False
        pages = [page for key in head if (page := self.raw.read_page(key)) is not None]
        times = (self.source.traits.layout.open_time_ms(row) for page in pages for row in page.rows())
        return self._start_ms not in times

    async def _files(self) -> tuple[list[PageKey], list[TimeRange]]:
        """Take what lies as a file. Return those pages, and the windows that are left to ask for."""
        files = await self.source.bulk_files(self.raw.series, self.raw.time_range)
        found = await together(self._file(file) for file in files if self.bounds.may_hold(file.window))
        start_ms = await self._own_from_ms()
        taken: list[PageKey] = []
        left: list[TimeRange] = []
        if self.source.traits.rebuilds:
            left += self._windows(self._start_ms, start_ms)
        elif start_ms > self._start_ms:
            self.known = replace(self.known, served_from_ms=start_ms)
            self.bounds = replace(self.bounds, served_from_ms=start_ms)
        for keys, rest in filter(None, found):
            taken += keys
            left += [*self._windows(start_ms, keys[0].window.start_ms), *rest]
            start_ms = keys[0].window.end_ms
        return taken, [*left, *self._windows(start_ms, self._end_ms)]

    async def _file(self, file: BulkFile) -> tuple[list[PageKey], Sequence[TimeRange]] | None:
        """Take one file. Return its page, those it was held against, and the windows that are left to ask for.

        None if it is not there or cannot be trusted.
        """
        page = await self._kept(PageKey(file.window, Route.BULK))
        if page is None:
            async with self.places:
                page = await self.source.fetch_bulk(self.raw.series, file)
            if page is None:
                return None
            self._keep(page)
        key, reading = self._take(page)
        samples, is_right = await self._compare(page)
        if is_right:
            return [key, *samples], reading.rest
        windows = self._windows(page.window.start_ms, page.window.end_ms)
        rest = [window for window in windows if window not in self.compared]
        self.compared.update(rest)
        return [key, *samples], rest

    async def _compare(self, file: Page) -> tuple[list[PageKey], bool]:
        """Ask the API for a sample of what a file holds. Return those pages, and whether the file agrees with them.

        Later pages count: where both have a candle the API's is taken.
        """
        windows = sample(file.series, file.window, self._page_width_ms)
        self.compared.update(windows)
        try:
            keys = list(chain.from_iterable(await together(map(self._page, windows))))
        except UnknownSymbolError as error:
            log.info(
                "%s %s: the bulk file cannot be held against the API (%s)", file.series, file.window, error.message
            )
            return [], True
        pages = [page for key in keys if (page := self.raw.read_page(key)) is not None]
        wrong = await asyncio.to_thread(differing, file, pages, self.source.traits.layout)
        if wrong:
            what = "%s %s: the bulk file differs from the API in %s of %s; the API's are taken"
            log.warning(what, file.series, file.window, counted(len(wrong), "candle"), counted(len(windows), "page"))
        return keys, not wrong

    async def _own_from_ms(self) -> int:
        """Return from where in the range on the exchange serves candles of its own."""
        traits = self.source.traits
        if traits.reach is None:
            return self._start_ms
        # In steps, so that a fetch that is run again finds most of its windows.
        step_ms = _REACH_STEP * self.raw.series.timeframe.ms
        reach_ms = await self.source.clock_ms() - traits.reach * self.raw.series.timeframe.ms
        return min(max(self._start_ms, (reach_ms // step_ms + 2) * step_ms), self._end_ms)

    def _windows(self, start_ms: int, end_ms: int) -> list[TimeRange]:
        if start_ms >= end_ms:
            return []
        return list(TimeRange.from_ms(start_ms, end_ms).windows(self._page_width_ms))

    @property
    def _start_ms(self) -> int:
        """The first open time in the range: wherever that begins, windows lie on the grid."""
        return to_ms(self.raw.series.timeframe.ceil(self.raw.time_range.start))

    @property
    def _end_ms(self) -> int:
        """The close of the last candle that opens in the range; not after `_start_ms` if none does."""
        return to_ms(self.raw.series.timeframe.ceil(self.raw.time_range.end))

    @property
    def _page_width_ms(self) -> int:
        return self.source.traits.page_limit * self.raw.series.timeframe.ms

    async def _page(self, window: TimeRange, route: Route | None = None) -> list[PageKey]:
        """Walk one window, and what its answer leaves to be asked for."""
        routes = (Route.CANDLES, Route.TRADES) if route is None else (route,)
        page = await self._kept(*(PageKey(window, each) for each in routes)) or await self._ask(window, route)
        key, reading = self._take(page)
        keys = [key]
        for rest in reading.rest:
            keys += await self._page(rest, page.route)
        if reading.is_poor and page.route is Route.CANDLES:
            # Once more, before a candle is believed to be missing: an answer may be poor, or early. Both are kept.
            again = await self._kept(PageKey(window, Route.AGAIN)) or await self._ask(window, Route.AGAIN)
            keys.append(self._take(again)[0])
        return keys

    async def _ask(self, window: TimeRange, route: Route | None) -> Page:
        async with self.places:
            page = await fetch_patiently(self.source, self.raw.series, window, route)
        self._keep(page)
        return page

    async def _lead(self, pages: Sequence[PageKey]) -> list[PageKey]:
        """Look for the last price before the first candle, if candles are to be built and it has no trade."""
        if not pages or pages[0].route is not Route.TRADES:
            return []
        start_ms, width_ms = pages[0].window.start_ms, self.raw.series.timeframe.ms
        first = self.raw.read_page(pages[0])
        if first is not None and has_trade_before(first, start_ms + width_ms):
            return []
        leads: list[PageKey] = []
        for window in lead_windows(start_ms):
            leads += await self._page(window, Route.TRADES)
            if not all(self.is_empty[key] for key in leads):
                break
        return leads

    async def _kept(self, *keys: PageKey) -> Page | None:
        """Return a page that an earlier try has left, if one of `keys` is there and fresh."""
        for key in keys:
            page = self.raw.read_page(key)
            if page is not None and await self.source.clock_ms() - page.fetched_at_ms <= _FRESH_MS:
                return page
        return None

    def _keep(self, page: Page) -> None:
        self.raw.write_page(page)
        self.asked += 1

    def _take(self, page: Page) -> tuple[PageKey, Reading]:
        """Count a page that is on disk."""
        key, reading = PageKey(page.window, page.route), read(page, self.source.traits)
        if reading.missing:
            # No warning: the load counts what is absent, and why it is so is judged later.
            said = f"{counted(reading.missing, 'candle')} {'is' if reading.missing == 1 else 'are'} missing"
            again = "; asking once more" if page.route is Route.CANDLES else ", when asked for once more too"
            log.info("%s %s: %s%s", page.series, page.window, said, again)
        for oddity in reading.oddities:
            log.warning("%s %s: %s", page.series, page.window, oddity)
        self.asked_at_ms = min(self.asked_at_ms, page.fetched_at_ms)
        self.is_empty[key] = not reading.rows
        self.rows += reading.rows
        self.on_page(page, self._settled(page, reading))
        return key, reading

    def _settled(self, page: Page, reading: Reading) -> int:
        """Return for how many candles of the range nothing is left to be asked after this page."""
        is_known = page.route is not Route.BULK and page.window in self.compared
        if is_known or page.route is Route.AGAIN or page.window.end_ms <= self._start_ms:
            return 0
        timeframe = self.raw.series.timeframe
        return page.window.count(timeframe) - sum(rest.count(timeframe) for rest in reading.rest)
