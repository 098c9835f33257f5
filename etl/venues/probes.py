"""Probes of an exchange: each a function that asks once or twice, and says what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

from etl.errors import SourceError
from etl.exchanges import Bound, Order
from etl.extract import Page, Route
from etl.feeds import ANY_PROTOCOL
from etl.series import TimeRange
from etl.timeframe import from_ms
from etl.venues.asking import Venue, our_ms
from etl.venues.findings import Finding, agrees, differs, judged, unseen, yes

CLOSE_MS = 5_000
"""How far a clock may be off."""

_YEAR_MS = 365 * 86_400_000
_WIDTHS = (10_000, 1_500, 1_000, 500, 300, 200)  # to try where no page limit is known
_TRADED_MS = 20_000  # so far into a minute somebody has traded
_SHORT = 2  # candles: a longer gap may be an outage
_INSIDE, _BEYOND = 2, 30  # candles from the reach


async def see_pages(venue: Venue) -> list[Finding]:
    """Look at the most candles in an answer, at their order, and at minutes without trades."""
    limit = venue.traits.page_limit
    try:
        page = await venue.page(await venue.last_closed(limit))
    except SourceError as error:
        if error.is_retryable:
            raise
        page = await venue.page(await venue.last_closed(min(limit, 100)))
        size = differs("candles a page", f"{limit:,}", f"refuses {limit:,} ({error.message})")
    else:
        size = await _page_limit(venue, page)
    venue.known = sorted(set(venue.times_inside(page)))
    return [size, _order(venue, page), _empty_minutes(venue, page)]


async def _page_limit(venue: Venue, page: Page) -> Finding:
    """Judge the limit by a full page, and by windows that are wider."""
    what, limit, came = "candles a page", venue.traits.page_limit, len(page.rows())
    if not venue.reaches_over(page):
        return differs(what, f"{limit:,}", f"{came:,} for a window of {limit:,}", page_limit=came)
    for width in [2 * limit] if venue.is_known else _WIDTHS:
        try:
            wide = await venue.page(await venue.last_closed(width))
        except SourceError as error:
            if error.is_retryable:
                raise
            continue
        most = width if venue.reaches_over(wide) else len(wide.rows())
        seen = f"{len(wide.rows()):,} for a window of {width:,}"
        return judged(what, f"{limit:,}", seen, is_so=most <= limit, page_limit=most)
    return agrees(what, f"{limit:,}", f"{came:,}; a wider window is refused")


def _order(venue: Venue, page: Page) -> Finding:
    what, table = "order of rows", venue.traits.order
    if venue.traits.dialect == ANY_PROTOCOL:
        return unseen(what, table, "ccxt sorts them")
    times = venue.times(page)
    for order in Order:
        if len(times) > 1 and times == sorted(times, reverse=order is Order.DESCENDING):
            return judged(what, table, order, is_so=order is table, order=order)
    return differs(what, table, "none")


def _empty_minutes(venue: Venue, page: Page) -> Finding:
    what, table = "prints empty minutes", venue.traits.prints_empty
    place = venue.traits.layout.columns["volume"]
    silent = sum(1 for row in page.rows() if float(row[place] or 0) == 0)
    gaps = [(later - earlier) // venue.width_ms - 1 for earlier, later in pairwise(venue.known)]
    short = sum(1 for gap in gaps if 0 < gap <= _SHORT)
    if silent:
        return judged(what, yes(table), f"yes, {silent:,} without volume", is_so=table, prints_empty=True)
    if short:
        return judged(what, yes(table), f"no, {short:,} short gaps", is_so=not table, prints_empty=False)
    return unseen(what, yes(table), "a long gap, which may be an outage" if any(gaps) else "trades in every minute")


async def see_start(venue: Venue) -> list[Finding]:
    """Look whether a candle that opens at the asked start comes."""
    what, table = "a candle at the asked start", venue.traits.since
    window = venue.window_between_candles()
    since_ms, _ = venue.sent(window)
    times = venue.times(await venue.page(window))
    if not times:
        return [unseen(what, table, "an empty answer")]
    seen = Bound.INCLUSIVE if since_ms in times else Bound.EXCLUSIVE
    if min(times) < since_ms - venue.width_ms:
        seen = Bound.IGNORED
    return [judged(what, table, seen, is_so=seen is table, since=seen)]


async def see_end(venue: Venue) -> list[Finding]:
    """Look whether a candle that opens at the asked end comes, and whether later ones do."""
    what, table = "a candle at the asked end", venue.traits.until
    window = venue.window_between_candles()
    # A bound says something only where a candle opens.
    if venue.sent(window)[1] not in venue.known:
        window = TimeRange.from_ms(window.start_ms, window.end_ms + 1)
    _, until_ms = venue.sent(window)
    times = venue.times(await venue.page(window))
    if times and max(times) > (window.end_ms if until_ms is None else until_ms):
        seen = Bound.IGNORED
    elif until_ms is None:
        return [unseen(what, table, "it is not told the end, only how many, and sends no more")]
    else:
        seen = Bound.INCLUSIVE if until_ms in times else Bound.EXCLUSIVE
    return [judged(what, table, seen, is_so=seen is table, until=seen)]


async def see_newest(venue: Venue) -> list[Finding]:
    """Look whether a candle that forms is served, and whether the clock fits the candles."""
    page, now_ms = await _up_to_now(venue)
    into_ms = now_ms % venue.width_ms
    if not _has_forming(venue, page, now_ms) and into_ms < _TRADED_MS:
        await asyncio.sleep((_TRADED_MS - into_ms) / 1000)
        page, now_ms = await _up_to_now(venue)
    is_seen, table = _has_forming(venue, page, now_ms), venue.traits.serves_forming
    forming = judged("the candle that forms", yes(table), yes(is_seen), is_so=is_seen == table, serves_forming=is_seen)
    what, table_says = "newest candle", "opens before its clock"
    if not venue.has_clock:
        return [forming, unseen(what, table_says, "it tells no time")]
    newest_ms = max(venue.times(page), default=0)
    seen = f"opens at {from_ms(newest_ms):%H:%M:%S}, its clock says {from_ms(now_ms):%H:%M:%S}"
    # The clock was read before the page: a candle may have opened in between.
    return [forming, judged(what, table_says, seen, is_so=newest_ms <= now_ms + CLOSE_MS)]


async def _up_to_now(venue: Venue) -> tuple[Page, int]:
    now_ms = await venue.source.clock_ms() if venue.has_clock else our_ms()
    forming_ms = now_ms // venue.width_ms * venue.width_ms
    window = TimeRange.from_ms(forming_ms - 5 * venue.width_ms, forming_ms + 2 * venue.width_ms)
    return await venue.page(window), now_ms


def _has_forming(venue: Venue, page: Page, now_ms: int) -> bool:
    return any(at_ms + venue.width_ms > now_ms for at_ms in venue.times(page))


async def see_reach(venue: Venue) -> list[Finding]:
    """Look how far back candles are served: just inside and beyond the reach, or a year ago where there is none."""
    what, reach = "how far back", venue.traits.reach
    if reach is None:
        return [await _a_year_ago(venue)]
    table, inside, beyond = f"{reach:,} candles", reach - _INSIDE, reach + _BEYOND
    if not await venue.serves(inside, 100):
        return [differs(what, table, f"no candles from {inside:,} ago")]
    if await venue.serves(beyond, _BEYOND - 10):
        return [differs(what, table, f"candles from {beyond:,} ago")]
    return [agrees(what, table, f"candles from {inside:,} ago, none from {beyond:,}")]


async def _a_year_ago(venue: Venue) -> Finding:
    what, table = "how far back", "all there is"
    if await venue.serves(_YEAR_MS // venue.width_ms, min(300, venue.traits.page_limit)):
        return agrees(what, table, "candles from a year ago")
    coarse = max(venue.traits.timeframes, key=lambda timeframe: timeframe.ms)
    if await venue.serves(_YEAR_MS // coarse.ms, 10, coarse):
        seen = f"a year ago, candles at {coarse} but none at {venue.series.timeframe}"
        return differs(what, table, seen)
    return unseen(what, table, f"no candles of {venue.series.symbol} from a year ago; try another --symbol")


async def see_trades(venue: Venue) -> list[Finding]:
    """Look whether there are trades from beyond the reach, where older candles are built from them."""
    if not venue.traits.rebuilds:
        return []
    ago = 2 * (venue.traits.reach or 1)
    page = await venue.source.fetch_page(venue.series, await venue.window_ago(ago, 10), Route.TRADES)
    seen = f"{len(page.rows()):,} trades from {ago:,} candles ago"
    return [judged("rebuilt from trades", "yes", seen, is_so=bool(page.rows()), rebuilds=False)]


PROBES: Mapping[str, Callable[[Venue], Awaitable[list[Finding]]]] = MappingProxyType(
    {
        "candles a page": see_pages,
        "a candle at the asked start": see_start,
        "a candle at the asked end": see_end,
        "the candle that forms": see_newest,
        "how far back": see_reach,
        "rebuilt from trades": see_trades,
    }
)
"""In this order: the first finds the candles that the others ask about."""
