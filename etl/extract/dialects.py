"""Dialects of the exchanges: one small class a protocol. A new one is a class and a line in DIALECTS.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Source: https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductcandles
Source: https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from etl.exchanges import Bound, Traits
from etl.extract.ccxt_source import Dialect
from etl.extract.source import Route
from etl.extract.trades import TRADES_LIMIT
from etl.series import Series, TimeRange
from etl.timeframe import from_ms


class _Unified:
    """Any exchange through ccxt's unified calls: six columns, and a clock only where ccxt knows one."""

    listing_weight = 1

    def __init__(self, traits: Traits) -> None:
        self.traits = traits

    async def clock_ms(self, client: Any) -> int:
        # Where the exchange has no clock ours stands in, a minute slow, so that nothing forming is taken for closed.
        return int(await client.fetch_time()) if client.has["fetchTime"] else int(client.milliseconds()) - 60_000

    def market(self, client: Any, symbol: str) -> Awaitable[Mapping[str, Any]] | None:
        return None

    def route(self, series: Series, window: TimeRange, clock_ms: int) -> Route:
        return Route.CANDLES

    async def candles(self, client: Any, market: Mapping[str, Any], series: Series, window: TimeRange) -> Any:
        limit = window.count(series.timeframe)
        until_ms = window.end_ms - (1 if self.traits.until is Bound.INCLUSIVE else 0)
        query = {} if self.traits.until is Bound.IGNORED else {"until": until_ms}
        return await client.fetch_ohlcv(series.symbol, series.timeframe.value, window.start_ms, limit, query)

    async def trades(self, client: Any, market: Mapping[str, Any], window: TimeRange) -> Any:
        raise NotImplementedError


class _Binance(_Unified):
    """All twelve columns of its klines, and one market without the list of all."""

    listing_weight = 20

    async def clock_ms(self, client: Any) -> int:
        return int((await client.publicGetTime())["serverTime"])

    def market(self, client: Any, symbol: str) -> Awaitable[Mapping[str, Any]] | None:
        async def ask() -> Mapping[str, Any]:
            # ccxt reads no market without these lists, which it would ask for with a key.
            for margin in ("crossMarginPairsData", "isolatedMarginPairsData"):
                client.options.setdefault(margin, [])
            info = await client.publicGetExchangeInfo({"symbol": symbol.replace("/", "")})
            market: Mapping[str, Any] = client.parse_market(info["symbols"][0])
            return market

        return ask()

    async def candles(self, client: Any, market: Mapping[str, Any], series: Series, window: TimeRange) -> Any:
        query = {
            "symbol": market["id"],
            "interval": series.timeframe.value,
            "startTime": window.start_ms,
            "endTime": window.end_ms - 1,
            "limit": self.traits.page_limit,
        }
        return await client.publicGetKlines(query)


class _Coinbase(_Unified):
    """Coinbase Exchange."""

    async def clock_ms(self, client: Any) -> int:
        # Its time has microseconds as a fraction; rounded down.
        return int(float((await client.publicGetTime())["epoch"]) * 1000)

    async def candles(self, client: Any, market: Mapping[str, Any], series: Series, window: TimeRange) -> Any:
        last_ms = max(window.start_ms, window.end_ms - series.timeframe.ms)
        query = {
            "id": market["id"],
            "granularity": series.timeframe.ms // 1000,
            "start": from_ms(window.start_ms).isoformat(),
            "end": from_ms(last_ms).isoformat(),
        }
        return await client.publicGetProductsIdCandles(query)


class _Kraken(_Unified):
    """Kraken: its last 720 candles, and trades for what is older."""

    async def clock_ms(self, client: Any) -> int:
        return int((await client.publicGetTime())["result"]["unixtime"]) * 1000

    def route(self, series: Series, window: TimeRange, clock_ms: int) -> Route:
        # Two candles less than it says: one is forming, and one may close while we ask.
        reach_ms = ((self.traits.reach or 0) - 2) * series.timeframe.ms
        return Route.CANDLES if window.start_ms >= clock_ms - reach_ms else Route.TRADES

    async def candles(self, client: Any, market: Mapping[str, Any], series: Series, window: TimeRange) -> Any:
        since_s = (window.start_ms - series.timeframe.ms) // 1000
        return await client.publicGetOHLC(
            {"pair": market["id"], "interval": series.timeframe.ms // 60_000, "since": since_s}
        )

    async def trades(self, client: Any, market: Mapping[str, Any], window: TimeRange) -> Any:
        # Whether `since` itself counts has changed over the years: the nanosecond before counts either way.
        since_ns = max(0, window.start_ms * 1_000_000 - 1)
        return await client.publicGetTrades({"pair": market["id"], "since": since_ns, "count": TRADES_LIMIT})


DIALECTS: Mapping[str, Callable[[Traits], Dialect]] = MappingProxyType(
    {"ccxt": _Unified, "binance": _Binance, "coinbase": _Coinbase, "kraken": _Kraken}
)
