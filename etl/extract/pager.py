"""The walk over a range: page by page, side by side, resumable, and never cut short by an empty page.

The range is cut into windows of as many candles as the exchange returns at once, so what is asked for depends on the
range alone: a killed walk finds its pages by their windows and asks only for the rest. A page that is full and yet
does not reach over its window (duplicates, a venue that returns more than was asked) has its window halved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tenacity

from etl.errors import ChandlerError, MalformedPayloadError, RateLimitError, StoreError
from etl.extract.raw import RawPartition
from etl.extract.source import Page, Source
from etl.schema import Series, TimeRange

log = logging.getLogger(__name__)

_TRIES = 4
_LONGEST_WAIT_S = 60.0
_FRESH_MS = 24 * 3_600_000  # what an earlier try has left for longer than this, the exchange may have corrected since


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a walk did.

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
    pages_at_once: int,
    on_page: Callable[[Page], None] = lambda page: None,
) -> FetchReport:
    """Bring every page of a partition into the raw store.

    Args:
        source: The exchange.
        raw: Where pages are kept; one that is there is not asked for, unless it is more than a day old. The range is on
            the timeframe's grid, and closed by the exchange's clock.
        pages_at_once: Requests under way side by side.
        on_page: Called with each page, in the order of their arrival.

    Raises:
        SourceError: A page could not be had after some tries. Those that arrived are kept.
        StoreError: A page could not be written.
    """
    places = asyncio.Semaphore(pages_at_once)
    counts = {"pages": 0, "asked": 0, "rows": 0}

    async def walk(window: TimeRange) -> None:
        async with places:
            page = raw.read_page(window)
            if page is None or await source.clock_ms() - page.fetched_at_ms > _FRESH_MS:
                page = await _fetch_patiently(source, raw.series, window)
                raw.write_page(page)
                counts["asked"] += 1
        rows = page.rows()
        counts["pages"] += 1
        counts["rows"] += len(rows)
        on_page(page)
        for half in _halves(page, rows, source.page_limit):
            await walk(half)

    try:
        async with asyncio.TaskGroup() as group:
            for window in _windows(raw, source.page_limit):
                group.create_task(walk(window))
    except BaseExceptionGroup as errors:
        # Not by except*, which puts what is raised in it into a group again.
        ours, others = errors.split(ChandlerError)
        if ours is None or others is not None:
            raise
        raise _first(ours) from errors
    return FetchReport(**counts)


def read_pages(raw: RawPartition, page_limit: int) -> list[Page]:
    """Return the pages that `fetch_range` brought, in the order of their windows.

    Raises:
        StoreError: One is missing.
    """

    def walk(window: TimeRange) -> Iterator[Page]:
        page = raw.read_page(window)
        if page is None:
            message = "the raw page is not there; fetch this partition first (in Airflow: clear its fetch task)"
            raise StoreError(message, series=raw.series, time_range=window)
        yield page
        for half in _halves(page, page.rows(), page_limit):
            yield from walk(half)

    return [page for window in _windows(raw, page_limit) for page in walk(window)]


def _windows(raw: RawPartition, page_limit: int) -> Iterator[TimeRange]:
    return raw.time_range.windows(page_limit * raw.series.timeframe.ms)


def _halves(page: Page, rows: list[Any], page_limit: int) -> tuple[TimeRange, ...]:
    """Return the windows to ask for instead, if the exchange cut this page short; none if it did not."""
    width_ms = page.series.timeframe.ms
    candles = page.window.count(page.series.timeframe)
    if len(rows) < page_limit or candles < 2:
        return ()
    seen = {row[0] for row in rows if isinstance(row, list) and row and isinstance(row[0], int)}
    if seen.issuperset(range(page.window.start_ms, page.window.end_ms, width_ms)):
        return ()
    middle_ms = page.window.start_ms + candles // 2 * width_ms
    return TimeRange.from_ms(page.window.start_ms, middle_ms), TimeRange.from_ms(middle_ms, page.window.end_ms)


async def _fetch_patiently(source: Source, series: Series, window: TimeRange) -> Page:
    """Ask a few times, with growing and jittered pauses, as long as that may help within a minute."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_worth_a_try),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=_wait,
        before_sleep=_log_pause,
        reraise=True,
    )
    return await retrying(source.fetch_page, series, window)


def _is_worth_a_try(error: BaseException) -> bool:
    if isinstance(error, RateLimitError):
        return (error.retry_after_s or 0.0) <= _LONGEST_WAIT_S
    # An answer cut in the middle, or a proxy's HTML, is gone a moment later; what stays so is reported.
    return isinstance(error, MalformedPayloadError) or (isinstance(error, ChandlerError) and error.is_retryable)


_jitter = tenacity.wait_exponential_jitter(multiplier=0.5, max=8.0, jitter=0.5)


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s or 0.0 if isinstance(error, RateLimitError) else 0.0
    return max(asked_s, _jitter(state))


def _log_pause(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause_s = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s; try %d of %d in %.1f s", error, state.attempt_number + 1, _TRIES, pause_s)


def _first(errors: BaseExceptionGroup[ChandlerError]) -> ChandlerError:
    """Return the error to report, the first in time; the others follow from the same cause or will show in a rerun."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
