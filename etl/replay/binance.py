"""Binance's spot REST protocol as values: what may be asked, how answers and refusals look.

Knows no network, no limits and no faults. Words on the wire are Binance's own (`interval`, `kline`).

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Source: https://developers.binance.com/docs/binance-spot-api-docs/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from etl.replay.market import Market, Row
from etl.timeframe import Timeframe

PREFIX = "/api/v3"
WEIGHTS: Mapping[str, int] = {"ping": 1, "time": 1, "exchangeInfo": 20, "klines": 2}
WEIGHT_PER_MINUTE = 6_000

_DEFAULT_LIMIT, _MOST_ROWS = 500, 1_000
_ID = re.compile(r"[A-Z0-9-_.]{1,20}")
_IDS = re.compile(r'\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,})?\]')
_NUMBER = re.compile(r"[0-9]{1,20}")


class RefusedError(Exception):
    """A request that Binance does not answer as asked, with what it answers instead.

    Args:
        code: Binance's code, negative.
        message: Binance's words.
        status: The HTTP status.
        retry_after_s: What the header Retry-After says, where there is one.
    """

    def __init__(self, code: int, message: str, *, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = orjson.dumps({"code": code, "msg": message})
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


@dataclass(frozen=True, slots=True)
class Window:
    """What a request for klines asks for.

    Attributes:
        symbol: ccxt's unified symbol.
        start_ms: The first open time asked for; None for the latest candles.
        end_ms: The last open time asked for, inclusive as on the wire; None for now.
        limit: The most candles wanted.
    """

    symbol: str
    timeframe: Timeframe
    start_ms: int | None
    end_ms: int | None
    limit: int


def symbol_ids(market: Market) -> dict[str, str]:
    """Return the symbols by Binance's names for them: `BTC/USDT` by `BTCUSDT`."""
    return {_to_id(symbol): symbol for symbol in market.symbols}


def parse_window(query: Mapping[str, str], ids: Mapping[str, str], market: Market) -> Window:
    """Read the parameters of `klines`.

    Raises:
        RefusedError: Binance would not take them.
    """
    text = _required(query, "symbol")
    if not _ID.fullmatch(text):
        raise _illegal("symbol", "^[A-Z0-9-_.]{1,20}$")
    interval = _required(query, "interval")
    symbol = ids.get(text)
    if symbol is None:
        raise RefusedError(-1121, "Invalid symbol.")
    if interval not in market.timeframes(symbol):
        raise RefusedError(-1120, "Invalid interval.")
    limit = _number(query, "limit")
    if limit == 0:
        raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    return Window(
        symbol=symbol,
        timeframe=Timeframe(interval),
        start_ms=_number(query, "startTime"),
        end_ms=_number(query, "endTime"),
        limit=min(limit or _DEFAULT_LIMIT, _MOST_ROWS),
    )


def select_rows(market: Market, window: Window, now_ms: int) -> Sequence[Row]:
    """Return the rows that the window asks for, the one that is forming included."""
    end_ms = now_ms + 1 if window.end_ms is None else min(window.end_ms, now_ms) + 1
    if window.start_ms is None:
        return market.last_rows(window.symbol, window.timeframe, end_ms, window.limit, now_ms)
    return market.rows(window.symbol, window.timeframe, window.start_ms, end_ms, window.limit, now_ms)


def to_wire(rows: Iterable[Row], timeframe: Timeframe) -> list[tuple[Any, ...]]:
    """Return the rows as Binance prints them: twelve columns, the seventh the close time."""
    last_ms = timeframe.ms - 1
    return [(t, o, h, lo, c, v, t + last_ms, q, n, tb, tq, "0") for t, o, h, lo, c, v, q, n, tb, tq in rows]


def exchange_info(query: Mapping[str, str], ids: Mapping[str, str], market: Market, now_ms: int) -> dict[str, Any]:
    """Return what the exchange lists, or of that what the parameters `symbol` or `symbols` name.

    Raises:
        RefusedError: A name is not listed, or the parameters are not to be read.
    """
    wanted: Iterable[str] = ids
    if "symbol" in query and "symbols" in query:
        raise RefusedError(-1128, "Combination of optional parameters invalid.")
    if "symbol" in query:
        if not _ID.fullmatch(query["symbol"]):
            raise _illegal("symbol", "^[A-Z0-9-_.]{1,20}$")
        wanted = (query["symbol"],)
    elif "symbols" in query:
        if not _IDS.fullmatch(query["symbols"]):
            raise _illegal("symbols", _IDS.pattern)
        wanted = orjson.loads(query["symbols"])
    if any(name not in ids for name in wanted):
        raise RefusedError(-1121, "Invalid symbol.")
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE}
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [limit],
        "exchangeFilters": [],
        "symbols": [_listing(name, ids[name], market) for name in wanted],
    }


def too_much_weight(retry_after_s: int) -> RefusedError:
    """Return Binance's answer to an address over its limit."""
    message = (
        f"Too much request weight used; current limit is {WEIGHT_PER_MINUTE} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return RefusedError(-1003, message, status=429, retry_after_s=retry_after_s)


def banned(until_ms: int, now_ms: int) -> RefusedError:
    """Return Binance's answer to an address that went on after it was told to stop."""
    message = (
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    return RefusedError(-1003, message, status=418, retry_after_s=-(-(until_ms - now_ms) // 1000))


def _to_id(symbol: str) -> str:
    return symbol.replace("/", "").replace(":", "_")


def _required(query: Mapping[str, str], name: str) -> str:
    if value := query.get(name):
        return value
    raise RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _number(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not query[name]:
        raise RefusedError(-1105, f"Parameter '{name}' was empty.")
    if not _NUMBER.fullmatch(query[name]):
        raise _illegal(name, "^[0-9]{1,20}$")
    return int(query[name])


def _illegal(name: str, legal: str) -> RefusedError:
    return RefusedError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _listing(name: str, symbol: str, market: Market) -> dict[str, Any]:
    base, _, quote = symbol.partition(":")[0].partition("/")
    tick, lot = market.steps(symbol)
    return {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "9000000.00000000", "stepSize": lot},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }
