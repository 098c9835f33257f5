"""Binance spot, through ccxt's implicit calls: all twelve columns of its klines, not only ccxt's six.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import ccxt
import ccxt.async_support

from etl.errors import ChandlerError, MalformedPayloadError, RateLimitError, UnknownSymbolError
from etl.extract.pacing import Pacer
from etl.extract.source import Page
from etl.extract.translate import translate
from etl.schema import Series, TimeRange
from etl.settings import Settings, nearest

_TIMEOUT_MS = 15_000
_EXCHANGE_INFO_WEIGHT = 20


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


# The answer of the request under way in this task: ccxt itself keeps only the exchange's last one, which may belong
# to another task.
_answer: ContextVar[_Answer] = ContextVar("_answer")


class _Client(ccxt.async_support.binance):  # type: ignore[misc]  # ccxt's classes are untyped
    """ccxt's Binance, remembering each answer for the task that asked."""

    def on_rest_response(  # type: ignore[no-untyped-def]  # ccxt's own signature
        self, code, reason, url, method, response_headers, response_body, request_headers, request_body
    ):
        headers = {key.lower(): value for key, value in response_headers.items()}
        _answer.set(_Answer(code, headers, response_body))
        return super().on_rest_response(
            code, reason, url, method, response_headers, response_body, request_headers, request_body
        )


class BinanceSource:
    """Binance, or whoever speaks its protocol.

    Args:
        exchange: Its name in feeds.toml.
        settings: Where to find it and what may be spent there.
    """

    def __init__(self, exchange: str, settings: Settings) -> None:
        traits = settings.traits(exchange)
        own = settings.exchange(exchange)
        self.page_limit = traits.page_limit
        self._page_weight = traits.page_weight
        # Without a word from the user a tenth stays free: others at this address have requests under way too.
        self._pacer = Pacer(own.weight_per_minute or traits.weight_per_minute * 9 // 10)
        self._ids: dict[str, str] = {}
        self._ids_lock = asyncio.Lock()
        self._clock_skew_ms: int | None = None
        # aiohttp waits by itself for its connections to close; ccxt would sleep a quarter of a second on top.
        self._client = _Client({"enableRateLimit": False, "timeout": _TIMEOUT_MS, "timeout_on_exit": 0})
        # Spot alone, and no call that needs a key.
        self._client.options["fetchMarkets"] = {"types": ["spot"]}
        self._client.has["fetchCurrencies"] = False
        if own.base_url is not None:
            self._client.urls["api"]["public"] = str(own.base_url).rstrip("/") + "/api/v3"
        self.address: str = self._client.urls["api"]["public"]

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
        if self._clock_skew_ms is None:
            answer = await self._ask(self._client.publicGetTime, {}, weight=1)
            try:
                self._clock_skew_ms = int(answer["serverTime"]) - _monotonic_ms()
            except (TypeError, KeyError, ValueError) as error:
                raise MalformedPayloadError(f"{self.address}/time gives no serverTime: {str(answer)[:80]!r}") from error
        return _monotonic_ms() + self._clock_skew_ms

    async def symbols(self) -> Sequence[str]:
        """Return every symbol that the exchange lists."""
        markets = await self._ask(self._client.load_markets, weight=_EXCHANGE_INFO_WEIGHT)
        return sorted(markets)

    async def fetch_page(self, series: Series, window: TimeRange) -> Page:
        """Ask once for the candles that open in `window`; see `Source.fetch_page`."""
        place = {"series": series, "time_range": window}
        query = {
            "symbol": await self._market_id(series.symbol, place),
            "interval": series.timeframe.value,
            "startTime": window.start_ms,
            "endTime": window.end_ms - 1,
            "limit": self.page_limit,
        }
        # The clock is read before the page, so that nothing which closed in between is taken for closed.
        clock_ms = await self.clock_ms()
        await self._ask(self._client.publicGetKlines, query, weight=self._page_weight, **place)
        page = Page(series, window, clock_ms, _answer.get().body)
        page.rows()
        return page

    async def _market_id(self, symbol: str, place: Mapping[str, Any]) -> str:
        """Return Binance's name of `symbol`: by one small question, or else by the whole list."""
        async with self._ids_lock:
            if symbol not in self._ids:
                guess = symbol.replace("/", "")
                try:
                    info = await self._ask(self._client.publicGetExchangeInfo, {"symbol": guess}, weight=4, **place)
                    is_it = self._client.parse_market(info["symbols"][0])["symbol"] == symbol
                except (UnknownSymbolError, KeyError, IndexError, TypeError):
                    is_it = False
                self._ids[symbol] = guess if is_it else await self._listed_id(symbol, place)
            return self._ids[symbol]

    async def _listed_id(self, symbol: str, place: Mapping[str, Any]) -> str:
        listed = await self.symbols()
        if symbol not in listed:
            message = f"{self.address} lists no {symbol}{nearest(symbol, listed)}; correct it in feeds.toml"
            raise UnknownSymbolError(message, **place)
        return str(self._client.market(symbol)["id"])

    async def _ask(self, call: Callable[..., Awaitable[Any]], *query: Any, weight: int, **place: Any) -> Any:
        """Make one request within the budget, and translate what goes wrong."""
        await self._pacer.spend(weight)
        _answer.set(_Answer())
        try:
            return await call(*query)
        except ccxt.BaseError as error:
            failure = self._failure(error, place)
            raise failure from error
        finally:
            self._pacer.settle(weight, _to_int(_answer.get().headers.get("x-mbx-used-weight-1m")))

    def _failure(self, error: ccxt.BaseError, place: Mapping[str, Any]) -> ChandlerError:
        answer = _answer.get()
        retry_after_s = _to_seconds(answer.headers.get("retry-after"))
        failure = translate(error, status=answer.status, retry_after_s=retry_after_s, **place)
        if isinstance(failure, RateLimitError):
            self._pacer.pause(failure.retry_after_s or 1.0)
        return failure


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _to_int(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else None


def _to_seconds(text: str | None) -> float | None:
    seconds = _to_int(text)
    return None if seconds is None else float(seconds)
