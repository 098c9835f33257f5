"""The table of differences: what each exchange does in its own way.

Adding an exchange is one entry here and one contract test; one that ccxt's unified candles do not serve well enough
gets a dialect of its own in `etl/extract/` besides. `chandler exchanges` prints the table, and with `--check` holds it
against what an exchange does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

from etl.timeframe import Timeframe

_WHOLE = re.compile(r"(\d{1,19})(\.0*)?", re.ASCII)


class Bound(StrEnum):
    """Meanings of a bound of a request."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"
    IGNORED = "ignored"


class Order(StrEnum):
    """Orders of the rows of an answer."""

    ASCENDING = "oldest first"
    DESCENDING = "newest first"


@dataclass(frozen=True, slots=True)
class Layout:
    """Form of a row of an answer.

    Attributes:
        columns: Which of our columns stands where; what is not named is not given.
        unit_ms: What one unit of the open time is; None if it is told by its size, milliseconds or microseconds.
        width: How many values a row has; None if it may have more than those named.
    """

    columns: Mapping[str, int]
    unit_ms: int | None = 1
    width: int | None = None

    def open_time_ms(self, row: Any) -> int | None:
        """Return a row's open time in milliseconds since the epoch; None if it states none that is whole."""
        place = self.columns["open_time"]
        if type(row) is not list or len(row) <= place or type(row[place]) is not int:
            return None
        return self._to_ms(row[place])

    def stated_ms(self, row: Any) -> int | None:
        """Return the open time of a row that may be torn, too long, or write it otherwise: as text, or as a fraction.

        Good enough to say which slot a refused row is of; None if it states no whole time.
        """
        place = self.columns["open_time"]
        if type(row) is not list or len(row) <= place:
            return None
        stated = row[place]
        if isinstance(stated, str) and (match := _WHOLE.fullmatch(stated.strip())):
            stated = int(match[1])
        elif type(stated) is float and stated.is_integer():
            stated = int(stated)
        return self._to_ms(stated) if type(stated) is int else None

    def _to_ms(self, raw: int) -> int | None:
        if not 0 <= raw < 2**62:
            return None
        if self.unit_ms is not None:
            return raw * self.unit_ms
        if raw < LEAST_US:
            return raw
        return raw // 1000 if raw % 1000 == 0 else None


LEAST_US = 10**14
"""The least open time that counts microseconds: as milliseconds it is the year 5138, as microseconds 1973."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Facts that hold for every series of an exchange.

    Attributes:
        ccxt_id: What ccxt calls it.
        dialect: Who speaks to it: one of our own, or `ccxt`, ccxt's unified calls.
        timeframes: What the exchange serves, of those that Chandler knows.
        page_limit: The most candles that one request returns.
        page_weight: What one such request costs.
        weight_limit: What the exchange lets one address spend in `limit_interval_s`.
        limit_interval_s: Seconds.
        since: Whether a candle that opens at the asked start is returned.
        until: Likewise at the asked end.
        order: Of the rows of an answer.
        prints_empty: Whether a minute without trades prints a candle. If not, a missing one says little.
        serves_forming: Whether the last candle of an answer may still be forming.
        reach: How many candles back from now the exchange serves; None for all there are.
        rebuilds: Whether what lies further back is built from the exchange's trades.
        layout: Of the rows.
        quotes: Common quote currencies, to guess at a symbol written without its slash, and to find one to try.
        bulk_url: Where whole months lie as files, if they do.
    """

    ccxt_id: str
    timeframes: frozenset[Timeframe]
    page_limit: int
    weight_limit: int
    limit_interval_s: float
    layout: Layout
    quotes: tuple[str, ...]
    dialect: str = "ccxt"
    page_weight: int = 1
    since: Bound = Bound.INCLUSIVE
    until: Bound = Bound.INCLUSIVE
    order: Order = Order.ASCENDING
    prints_empty: bool = True
    serves_forming: bool = True
    reach: int | None = None
    rebuilds: bool = False
    bulk_url: str | None = None

    @property
    def is_newest_first(self) -> bool:
        """True if rows reach us newest first. Those of ccxt's unified calls are sorted by ccxt."""
        return self.order is Order.DESCENDING and self.dialect != "ccxt"


def _columns(*names: str) -> Mapping[str, int]:
    return MappingProxyType({name: place for place, name in enumerate(names) if name})


def _timeframes(*names: str) -> frozenset[Timeframe]:
    return frozenset(map(Timeframe, names))


# ccxt's unified candle, whatever the exchange sends.
_UNIFIED = Layout(_columns("open_time", "open", "high", "low", "close", "volume"))
_through_ccxt = partial(Traits, layout=_UNIFIED)
_KLINE = _columns(
    *("open_time", "open", "high", "low", "close", "volume"),
    "",  # the close time, which follows from the open time
    *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"),
)
BULK_LAYOUT = Layout(_KLINE, unit_ms=None, width=12)
"""Binance's files: microseconds since 2025, milliseconds before."""

FILE_LAYOUT = Layout(
    _columns(
        *("open_time", "open", "high", "low", "close", "volume"),
        *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"),
    )
)
"""A row out of somebody's file, whose own columns were found by their names; the line itself follows the values."""

_BINANCE = Traits(
    ccxt_id="binance",
    dialect="binance",
    timeframes=frozenset(Timeframe),
    page_limit=1000,
    page_weight=2,
    weight_limit=6000,
    limit_interval_s=60.0,
    layout=Layout(_KLINE),
    quotes=("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY"),
    bulk_url="https://data.binance.vision/data",
)

ANY = Traits(
    ccxt_id="",
    timeframes=frozenset(Timeframe),
    page_limit=100,
    weight_limit=60,
    limit_interval_s=60.0,
    layout=_UNIFIED,
    quotes=("USDT", "USD", "USDC", "EUR", "BTC"),
    prints_empty=False,
)
"""An exchange that the table does not know: asked for little and seldom, and nothing is taken for granted."""

EXCHANGES: Mapping[str, Traits] = MappingProxyType(
    {
        # Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
        "binance": _BINANCE,
        # Source: https://docs.binance.us/#get-candlestick-data (Binance's protocol, through ccxt's unified candles)
        "binanceus": replace(
            _BINANCE,
            ccxt_id="binanceus",
            dialect="ccxt",
            weight_limit=1200,
            layout=_UNIFIED,
            quotes=("USDT", "USD", "USDC", "BTC"),
            bulk_url=None,
        ),
        # Source: https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproductcandles
        "coinbase": Traits(
            ccxt_id="coinbaseexchange",
            dialect="coinbase",
            timeframes=_timeframes("1m", "5m", "15m", "1h", "6h", "1d"),
            page_limit=300,
            # Ten a second; the budget spends a minute's evenly.
            weight_limit=600,
            limit_interval_s=60.0,
            order=Order.DESCENDING,
            prints_empty=False,
            layout=Layout(_columns("open_time", "low", "high", "open", "close", "volume"), unit_ms=1000),
            quotes=("USD", "USDC", "USDT", "EUR", "GBP", "BTC", "ETH"),
        ),
        # Source: https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
        "kraken": Traits(
            ccxt_id="kraken",
            dialect="kraken",
            timeframes=_timeframes("1m", "5m", "15m", "30m", "1h", "4h", "1d"),
            page_limit=720,
            # About one a second.
            weight_limit=60,
            limit_interval_s=60.0,
            since=Bound.EXCLUSIVE,
            until=Bound.IGNORED,
            reach=720,
            rebuilds=True,
            # 5 is the volume-weighted mean price.
            layout=Layout(_columns("open_time", "open", "high", "low", "close", "", "volume", "trades"), unit_ms=1000),
            quotes=("USD", "EUR", "USDT", "USDC", "GBP", "CAD", "BTC", "ETH"),
        ),
        # Source: https://bybit-exchange.github.io/docs/v5/market/kline, https://bybit-exchange.github.io/docs/v5/rate-limit
        "bybit": _through_ccxt(
            ccxt_id="bybit",
            timeframes=_timeframes("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"),
            page_limit=1000,
            weight_limit=600,
            limit_interval_s=5.0,
            order=Order.DESCENDING,
            prints_empty=False,
            quotes=("USDT", "USDC", "EUR", "BTC"),
        ),
        # Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
        "okx": _through_ccxt(
            ccxt_id="okx",
            timeframes=_timeframes("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"),
            page_limit=300,
            # The limit of the older candles; the last 1,440 may be asked for twice as often.
            weight_limit=20,
            limit_interval_s=2.0,
            until=Bound.EXCLUSIVE,
            order=Order.DESCENDING,
            quotes=("USDT", "USDC", "USD", "EUR", "BTC"),
        ),
        # Source: https://www.bitstamp.net/api/#tag/Market-info/operation/GetOHLCData
        "bitstamp": _through_ccxt(
            ccxt_id="bitstamp",
            timeframes=_timeframes("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"),
            page_limit=1000,
            # 10,000 in ten minutes, spread evenly.
            weight_limit=1000,
            limit_interval_s=60.0,
            quotes=("USD", "EUR", "GBP", "USDT", "USDC", "BTC"),
        ),
        # Source: https://docs.bitfinex.com/reference/rest-public-candles
        "bitfinex": _through_ccxt(
            ccxt_id="bitfinex",
            timeframes=_timeframes("1m", "5m", "15m", "30m", "1h", "6h", "12h", "1d"),
            page_limit=10_000,
            weight_limit=30,
            limit_interval_s=60.0,
            prints_empty=False,
            quotes=("USD", "USDT", "EUR", "GBP", "JPY", "BTC"),
        ),
        # Source: https://www.gate.com/docs/developers/apiv4/#market-k-line-chart
        # Source: https://github.com/ccxt/ccxt/issues/27887 (candles of more than 10,000 timeframes ago are refused)
        "gate": _through_ccxt(
            ccxt_id="gate",
            timeframes=_timeframes("1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d"),
            page_limit=1000,
            weight_limit=200,
            limit_interval_s=10.0,
            prints_empty=False,
            reach=10_000,
            quotes=("USDT", "USDC", "BTC", "ETH"),
        ),
        # Source: https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-klines
        "kucoin": _through_ccxt(
            ccxt_id="kucoin",
            timeframes=_timeframes("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"),
            page_limit=1500,
            page_weight=3,
            weight_limit=2000,
            limit_interval_s=30.0,
            # By ccxt, which asks for as many candles as the limit says.
            until=Bound.IGNORED,
            order=Order.DESCENDING,
            prints_empty=False,
            quotes=("USDT", "USDC", "BTC", "ETH"),
        ),
    }
)
