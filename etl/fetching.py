"""Fetching a partition: an exchange with its budget, opened; its pages brought to disk; and a word on how it goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from etl.answers import OnAnswer, ignore
from etl.errors import (
    ConfigError,
    NotClosedError,
    NotListedError,
    SourceError,
    SourceUnavailableError,
    UnknownSymbolError,
)
from etl.exchanges import EXCHANGES
from etl.extract import (
    Bounds,
    Budget,
    Fetched,
    FetchReport,
    OnPage,
    Page,
    RawPartition,
    Source,
    fetch_range,
    open_source,
)
from etl.feeds import ANY_PROTOCOL
from etl.homes import check_stack
from etl.settings import Settings
from etl.spelling import counted
from etl.timeframe import from_ms
from etl.traffic import Counting
from etl.warehouse import Listing, SharedBudget, Warehouse, local_budget

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 90.0
_SECOND_LOOK_AFTER = timedelta(hours=12)  # and on another day: longer than an exchange is at work on itself
_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange that is spoken to.

    Attributes:
        budget: What may be spent there, by all who spend it.
        places: As many as requests may be under way side by side.
    """

    name: str
    source: Source
    budget: Budget
    places: asyncio.Semaphore


@asynccontextmanager
async def open_exchange(
    name: str, settings: Settings, warehouse: Warehouse | None, *, gently: float | None = None
) -> AsyncIterator[Exchange]:
    """Open the way to an exchange, inside a running loop.

    Args:
        warehouse: Where the budget is kept that all processes share, and how the exchange answers; without one, a
            budget of this process alone.
        gently: What share of the exchange's limit to stay within besides, whatever the others leave.

    Raises:
        ConfigError: No adapter speaks to such an exchange, no setting says where it is, or the stack that serves it
            does not run.
        StoreUnavailableError: The warehouse does not answer.
    """
    traits, own = settings.traits(name), settings.exchange(name)
    if own.base_url is None and name not in EXCHANGES and own.protocol != ANY_PROTOCOL:
        raise ConfigError(
            f"no address for exchange {name!r}, which speaks the protocol of {own.protocol}; set "
            f"CHANDLER_EXCHANGES__{name.upper()}__BASE_URL, or CHANDLER_HOME to the home of the stack that serves it"
        )
    check_stack(settings.home, name, None if own.base_url is None else str(own.base_url))
    limit, interval_s = traits.weight_limit, traits.limit_interval_s
    if warehouse is None:
        opening = local_budget(weight_limit=limit, interval_s=interval_s, share=own.share)
    else:
        opening = SharedBudget(warehouse, name, weight_limit=limit, interval_s=interval_s, share=own.share)
    async with AsyncExitStack() as stack:
        budget: Budget = await stack.enter_async_context(opening)
        if gently is not None:
            # A share too small for a few requests would never be enough for one.
            share = min(1.0, max(gently, 4 * traits.page_weight / limit))
            own_budget = local_budget(weight_limit=limit, interval_s=interval_s, share=share)
            budget = Both(await stack.enter_async_context(own_budget), budget)
        on_answer: OnAnswer = ignore
        if warehouse is not None:
            on_answer = (await stack.enter_async_context(Counting(warehouse, name))).count
        source = await stack.enter_async_context(open_source(name, settings, budget, on_answer))
        yield Exchange(name, source, budget, asyncio.Semaphore(own.pages_at_once))


class Both:
    """Two budgets, both of which must permit what is spent."""

    def __init__(self, one: Budget, other: Budget) -> None:
        self._budgets = (one, other)

    async def spend(self, weight: int) -> None:
        """Wait until both let `weight` be spent."""
        for budget in self._budgets:
            await budget.spend(weight)

    def settle(self, weight: int, used_weight: int | None) -> None:
        """Take a request as answered; what others spend counts in the shared budget alone."""
        self._budgets[0].settle(weight, None)
        self._budgets[1].settle(weight, used_weight)

    async def pause(self, seconds: float) -> None:
        """Hold everyone back."""
        await self._budgets[1].pause(seconds)

    def use(self) -> tuple[int, int]:
        """Return what this process has spent in the last interval, and may."""
        return self._budgets[0].use()


async def fetch_pages(
    exchange: Exchange, raw: RawPartition, listing: Listing, on_page: OnPage = lambda page, candles: None
) -> FetchReport:
    """Bring a partition's raw pages to disk, and log every few seconds how far it is.

    Args:
        raw: Where to. What is there already is not asked for again.
        listing: What the warehouse knows of the series.

    Raises:
        NotListedError: The exchange does not list a series that was loaded before, as seen for the first time.
        SourceError: The exchange did not give them, or the range has not closed yet.
        StoreError: A page could not be written.
    """
    await _wait_until_closed(exchange, raw)
    told = _Told(raw, exchange.budget)

    def tell(page: Page, candles: int) -> None:
        told.take(candles)
        on_page(page, candles)

    try:
        known = Bounds(listing.first_ms, listing.ended_ms)
        report = await fetch_range(exchange.source, raw, places=exchange.places, known=known, on_page=tell)
    except UnknownSymbolError as error:
        error.time_range = raw.time_range  # no page of it is known to the exchange
        if listing.held_until_ms is None:
            raise
        # What was there once is no mistake in feeds.toml: it was delisted, or has another name now.
        await _look_again(exchange, raw, listing, error)
        log.warning("%s; what was loaded stays, and ends there", error)
        end_ms = listing.held_until_ms
        bounds = Bounds(listing.first_ms, end_ms, served_from_ms=end_ms, unlisted_ms=listing.unlisted_ms)
        asked_at_ms = await exchange.source.clock_ms()
        await asyncio.to_thread(raw.write_list, Fetched((), bounds, asked_at_ms))
        report = FetchReport(0, 0, 0)
    except SourceError as error:
        error.widen(raw.time_range)
        raise
    log.info(
        "fetched %s (%d asked for, %d on disk already), %s, in %.1f s",
        counted(report.pages, "page"),
        report.asked,
        report.pages - report.asked,
        counted(report.rows, "row"),
        time.monotonic() - told.began,
    )
    return report


async def _look_again(exchange: Exchange, raw: RawPartition, listing: Listing, error: UnknownSymbolError) -> None:
    """Return if the exchange's list lacks a symbol now, and did so on an earlier day.

    Raises:
        NotListedError: It lacks it for the first time, or on the first day.
        SourceUnavailableError: It does list it.
    """
    symbol = raw.series.symbol
    if symbol in await exchange.source.symbols():
        message = f"{exchange.name} lists {symbol} and does not know it ({error.message}); run it again later"
        raise SourceUnavailableError(message, series=raw.series, time_range=raw.time_range) from error
    now = from_ms(await exchange.source.clock_ms())
    since = now if listing.unlisted_ms is None else from_ms(listing.unlisted_ms)
    if now.date() == since.date() or now - since < _SECOND_LOOK_AFTER:
        message = (
            f"{exchange.name} lists {symbol} no more, as seen on {since:%Y-%m-%d %H:%M}; it is looked for on another "
            "day too, and taken as delisted if it is not there; if it has another name now, write that instead"
        )
        raise NotListedError(message, series=raw.series, time_range=raw.time_range) from error


async def _wait_until_closed(exchange: Exchange, raw: RawPartition) -> None:
    open_for_s = (raw.time_range.end_ms - await exchange.source.clock_ms()) / 1000
    if open_for_s > _LONGEST_WAIT_S:
        message = f"its last candle closes in {timedelta(seconds=round(open_for_s))} by the exchange's clock"
        raise NotClosedError(message, series=raw.series, time_range=raw.time_range)
    if open_for_s > 0:
        log.info("waiting %.1f s for the last candle to close", open_for_s)
        await asyncio.sleep(open_for_s)


@dataclass(slots=True)
class _Told:
    """Progress of a fetch, logged now and then."""

    raw: RawPartition
    budget: Budget
    pages: int = 0
    candles: int = 0
    began: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)

    def take(self, candles: int) -> None:
        """Count a page, and say how far things are if it has been a while."""
        self.pages += 1
        self.candles += candles
        now = time.monotonic()
        if now - self.said < _EVERY_S:
            return
        self.said = now
        total = self.raw.time_range.count(self.raw.series.timeframe)
        rate = max(1, self.candles) / (now - self.began)
        used, permitted = self.budget.use()
        log.info(
            "%s: %s, %s of %s (%.0f %%), %s a second, weight %d of %d, %s left",
            self.raw.series,
            counted(self.pages, "page"),
            f"{self.candles:,}",
            counted(total, "candle"),
            100 * self.candles / total,
            f"{rate:,.0f}",
            used,
            permitted,
            timedelta(seconds=round((total - self.candles) / rate)),
        )
