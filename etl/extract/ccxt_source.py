"""An exchange through ccxt: its requests within the budget, its answers kept as they arrived, its errors translated.

What differs from exchange to exchange stands in the table (`etl.exchanges`) and in its dialect.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from etl.answers import OnAnswer, Outcome, counted, ignore
from etl.errors import ChandlerError, MalformedPayloadError, RateLimitError, UnknownSymbolError
from etl.exchanges import Traits
from etl.extract.budget import Budget
from etl.extract.bulk import BulkFile, bulk_files, fetch_bulk
from etl.extract.ccxt_client import ANSWER, Answer, check_read, make_client, moved
from etl.extract.clock import read_clock
from etl.extract.http import LISTING_BYTES, MOST_BYTES
from etl.extract.patience import insist
from etl.extract.source import Page, Route
from etl.extract.translate import translate
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.spelling import nearest

_MARKET_WEIGHT = 4
_UNSAID_PAUSE_S = 5.0  # after a refusal that does not say how long


class Dialect(Protocol):
    """Requests to an exchange in its own words: one request each, whose answer ccxt returns as read."""

    listing_weight: int

    async def clock_ms(self, client: Any) -> int:
        """Ask for the exchange's clock; milliseconds since the epoch."""

    def market(self, client: Any, symbol: str) -> Awaitable[Mapping[str, Any]] | None:
        """Ask for one market by a small question, as ccxt describes it; None where only the whole list will do."""

    def route(self, series: Series, window: TimeRange, clock_ms: int) -> Route:
        """Return which way serves what opens in `window`."""

    async def candles(self, client: Any, market: Mapping[str, Any], series: Series, window: TimeRange) -> Any:
        """Ask for the candles that open in `window`; the answer is kept as it arrived, unless this returns rows."""

    async def trades(self, client: Any, market: Mapping[str, Any], window: TimeRange) -> Any:
        """Ask for the trades from the start of `window` on."""


class CcxtSource:
    """An exchange, or whoever speaks its protocol.

    Args:
        exchange: Its name in feeds.toml.
        settings: Where to find it.
        dialect: How to speak to it.
        budget: What may be spent there.
        on_answer: Told of each request.

    Raises:
        ConfigError: ccxt knows no such exchange, or its address cannot be replaced.
    """

    def __init__(
        self, exchange: str, settings: Settings, dialect: Dialect, budget: Budget, on_answer: OnAnswer = ignore
    ) -> None:
        own = settings.exchange(exchange)
        self.traits: Traits = settings.traits(exchange)
        self.budget = budget
        self._dialect = dialect
        self._on_answer = on_answer
        self._most_skew = settings.clock_skew
        self._clock_skew_ms: int | None = None
        self._clock_lock = asyncio.Lock()
        self._markets: dict[str, Mapping[str, Any]] = {}
        self._markets_lock = asyncio.Lock()
        self._client = make_client(self.traits.ccxt_id)
        if own.base_url is not None:
            self._client.urls["api"] = moved(self._client.urls["api"], str(own.base_url).rstrip("/"))
        self._bulk_url = own.bulk_address(self.traits.bulk_url)
        self.address = exchange if own.base_url is None else f"{exchange} at {own.base_url}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def clock_ms(self) -> int:
        """Return the exchange's clock, milliseconds since the epoch: asked for once, then carried on by our own.

        Never ahead of the exchange: the answer was on its way to us when our count began.
        """
        async with self._clock_lock:
            if self._clock_skew_ms is None:
                self._clock_skew_ms = await insist(self._ask_clock_skew_ms)
        return _monotonic_ms() + self._clock_skew_ms

    async def _ask_clock_skew_ms(self) -> int:
        try:
            told = await self._ask(self._dialect.clock_ms(self._client), weight=1)
        except MalformedPayloadError as error:
            raise MalformedPayloadError(f"{self.address} does not tell its time: {error.message}") from error
        now_ms = _monotonic_ms()
        return read_clock(self.address, told, int(time.time() * 1000), self._most_skew) - now_ms

    async def symbols(self) -> Sequence[str]:
        """Return every symbol that the exchange lists, sorted."""
        return sorted(await insist(self._ask_markets))

    async def _ask_markets(self) -> Mapping[str, Any]:
        # ccxt returns again what it has once read, and be it nothing.
        asking = self._client.load_markets(not self._client.markets)
        weight = self._dialect.listing_weight
        bound = MOST_BYTES.set(LISTING_BYTES)
        try:
            markets: Mapping[str, Any] = await self._ask(asking, weight=weight, read=_not_empty)
        except MalformedPayloadError as error:
            self._client.markets = None
            raise MalformedPayloadError(f"{self.address}: no list of symbols: {error.message}") from error
        finally:
            MOST_BYTES.reset(bound)
        return markets

    async def is_trading(self, symbol: str) -> bool:
        """Return whether `symbol` is traded now; see `Source.is_trading`."""
        return (await insist(lambda: self._market(symbol))).get("active") is not False

    async def fetch_page(self, series: Series, window: TimeRange, route: Route | None = None) -> Page:
        """Ask once for what opens in `window`; see `Source.fetch_page`."""
        place = {"series": series, "time_range": window}
        market = await self._market(series.symbol, **place)
        # The clock is read before the page, so that nothing which closed in between is taken for closed.
        clock_ms = await self.clock_ms()
        route = route or self._dialect.route(series, window, clock_ms)
        if route is Route.TRADES:
            asking = self._dialect.trades(self._client, market, window)
        else:
            asking = self._dialect.candles(self._client, market, series, window)

        def to_page(answer: Any) -> Page:
            body = orjson.dumps(answer).decode() if self.traits.dialect == "ccxt" else ANSWER.get().body
            page = Page(series, window, clock_ms, body, route, answer if isinstance(answer, list | dict) else None)
            page.rows()
            return page

        page: Page = await self._ask(asking, weight=self.traits.page_weight, read=to_page, **place)
        return page

    async def bulk_files(self, series: Series, time_range: TimeRange) -> Sequence[BulkFile]:
        """Return the files that should be there of whole months and days in the range; ascending and disjoint."""
        if self._bulk_url is None:
            return ()
        files = bulk_files(series, series.symbol.replace("/", ""), time_range, await self.clock_ms())
        # What one page holds costs less as a page.
        return [file for file in files if file.window.count(series.timeframe) > self.traits.page_limit]

    async def fetch_bulk(self, series: Series, file: BulkFile) -> Page | None:
        """Return a file as a page; None if it is not there or cannot be trusted."""
        if self._bulk_url is None:
            return None
        self._client.open()
        session, fetched_at_ms = self._client.session, await self.clock_ms()
        return await fetch_bulk(session, self._bulk_url, series, file, fetched_at_ms, self._on_answer)

    async def _market(self, symbol: str, **place: Any) -> Mapping[str, Any]:
        """Return what the exchange says of `symbol`: by one small question, or else by the whole list."""
        async with self._markets_lock:
            if symbol not in self._markets:
                market = None if self._client.markets else await self._guessed(symbol, place)
                self._markets[symbol] = market or await self._listed(symbol, place)
            return self._markets[symbol]

    async def _guessed(self, symbol: str, place: Mapping[str, Any]) -> Mapping[str, Any] | None:
        question = self._dialect.market(self._client, symbol)
        if question is None:
            return None
        try:
            market: Mapping[str, Any] = await self._ask(question, weight=_MARKET_WEIGHT, **place)
        except (UnknownSymbolError, MalformedPayloadError):
            return None
        return market if market["symbol"] == symbol else None

    async def _listed(self, symbol: str, place: Mapping[str, Any]) -> Mapping[str, Any]:
        listed = sorted(await self._ask_markets())
        if symbol not in listed:
            message = f"{self.address} lists no {symbol}{nearest(symbol, listed)}; correct the symbol"
            raise UnknownSymbolError(message, **place)
        market: Mapping[str, Any] = self._client.market(symbol)
        return market

    async def _ask(
        self, asking: Awaitable[Any], *, weight: int, read: Callable[[Any], Any] = lambda answer: answer, **place: Any
    ) -> Any:
        """Make one request within the budget, and translate what goes wrong; what cannot be read has failed, too."""
        try:
            await self.budget.spend(weight)
        except BaseException:
            asking.close()  # type: ignore[attr-defined]  # a coroutine that was never begun
            raise
        ANSWER.set(Answer())
        try:
            with counted(self._count):
                return await self._translated(asking, read, place)
        except RateLimitError as error:
            await self.budget.pause(error.retry_after_s or _UNSAID_PAUSE_S)
            raise
        finally:
            self.budget.settle(weight, _to_int(ANSWER.get().headers.get("x-mbx-used-weight-1m")))

    async def _translated(self, asking: Awaitable[Any], read: Callable[[Any], Any], place: Mapping[str, Any]) -> Any:
        try:
            answer = await asking
            check_read(place)
            return read(answer)
        except ChandlerError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            check_read(place)  # over what is no JSON ccxt stumbles
            raise self._failure(error, place) from error
        except Exception as error:
            raise self._failure(error, place) from error

    def _count(self, outcome: Outcome, seconds: float) -> None:
        # What ccxt has at hand is no request: the list of markets, or our own clock.
        if outcome is not Outcome.OK or ANSWER.get().status:
            self._on_answer(outcome, seconds)

    def _failure(self, error: Exception, place: Mapping[str, Any]) -> ChandlerError:
        answer = ANSWER.get()
        seconds, is_json = _to_int(answer.headers.get("retry-after")), answer.unread is None
        return translate(error, status=answer.status, is_json=is_json, retry_after_s=seconds, **place)


def _not_empty(markets: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the markets of a list that has some.

    Raises:
        MalformedPayloadError: It has none.
    """
    if not markets:
        raise MalformedPayloadError("it is empty; run it again later")
    return markets


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _to_int(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else None
