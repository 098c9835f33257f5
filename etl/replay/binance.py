"""Binance's spot REST protocol as values: what may be asked, how answers and refusals look.

Knows no network, no limits and no faults. Words on the wire are Binance's own (`interval`, `kline`).

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
Source: https://developers.binance.com/docs/binance-spot-api-docs/errors
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import pyarrow.compute as pc

from etl.replay.book import Book
from etl.replay.columns import bare, join, quoted
from etl.replay.limits import WeightLimits
from etl.replay.market import Columns, Market
from etl.replay.wire import (
    Answer,
    Asked,
    Dialect,
    Layout,
    RefusedError,
    Route,
    Trouble,
    Window,
    answer_json,
)
from etl.timeframe import Timeframe

WEIGHT_PER_MINUTE = 6_000
LAYOUT = Layout(time=0, unit_ms=1, close=4, high=2, low=3)

_DEFAULT_LIMIT, _MOST_ROWS = 500, 1_000
# Letters of any script, but no small ASCII ones: one of its symbols is written in Chinese.
_ID_PATTERN = r"[^\W a-z]|[-.]"
_ID = re.compile(rf"(?:{_ID_PATTERN}){{1,50}}")
_IDS = re.compile(rf'\[("(?:{_ID_PATTERN}){{1,50}}"(,"(?:{_ID_PATTERN}){{1,50}}"){{0,}})?\]')
_NUMBER = re.compile(r"[0-9]{1,20}")


def refusal(code: int, message: str, *, status: int = 400, retry_after_s: int | None = None) -> RefusedError:
    """Return a refusal in Binance's form, by Binance's code, which is negative."""
    return RefusedError(orjson.dumps({"code": code, "msg": message}), status=status, retry_after_s=retry_after_s)


def klines(book: Book, asked: Asked) -> Answer:
    """Answer with candles, the one that is forming included.

    Raises:
        RefusedError: Binance would not take the parameters.
    """
    window = parse_window(asked.query, book, asked.now_ms)
    symbol, timeframe, now_ms = window.symbol, Timeframe(asked.query["interval"]), asked.now_ms
    end_ms = now_ms + 1 if window.end_ms is None else min(window.end_ms, now_ms) + 1
    if window.start_ms is None:
        pieces = book.last_candles(print_candles, symbol, timeframe, end_ms, window.limit, now_ms)
    else:
        pieces = book.candles(print_candles, symbol, timeframe, window.start_ms, end_ms, window.limit, now_ms)
    return Answer(
        pieces=pieces,
        layout=LAYOUT,
        window=window,
        forming=lambda: book.forming(print_candles, symbol, timeframe, now_ms),
    )


def parse_window(query: Mapping[str, str], book: Book, now_ms: int) -> Window:
    """Read the parameters of `klines`.

    Raises:
        RefusedError: Binance would not take them.
    """
    text = _required(query, "symbol")
    if not _ID.fullmatch(text):
        raise _illegal("symbol", "^[\\w\\-._&&[^a-z]]{1,50}$")
    interval = _required(query, "interval")
    symbol = symbol_ids(book.market).get(text)
    if symbol is None or not book.is_known(symbol, now_ms):
        raise refusal(-1121, "Invalid symbol.")
    if interval not in book.market.timeframes(symbol):
        raise refusal(-1120, "Invalid interval.")
    limit = _number(query, "limit")
    if limit == 0:
        raise refusal(-1130, "Data sent for parameter 'limit' is not valid.")
    return Window(
        symbol=symbol,
        timeframe=Timeframe(interval),
        start_ms=_number(query, "startTime"),
        end_ms=_number(query, "endTime"),
        limit=min(limit or _DEFAULT_LIMIT, _MOST_ROWS),
        route="klines",
    )


def symbol_ids(market: Market) -> dict[str, str]:
    """Return the symbols by Binance's names for them: `BTC/USDT` by `BTCUSDT`."""
    return {symbol.replace("/", "").replace(":", "_"): symbol for symbol in market.symbols}


def print_candles(candles: Columns, timeframe: Timeframe) -> list[bytes]:
    """Encode candles in Binance's twelve columns, the seventh the close time."""
    close_times = pc.add(candles.open_time_ms, timeframe.ms - 1)
    fields = [
        bare(candles.open_time_ms),
        *map(quoted, (candles.open, candles.high, candles.low, candles.close, candles.volume)),
        bare(close_times),
        quoted(candles.quote_volume),
        bare(candles.trades),
        quoted(candles.taker_buy_volume),
        quoted(candles.taker_buy_quote_volume),
    ]
    return join([*(part for field in fields for part in (*field, ",")), '"0"'])


def exchange_info(book: Book, asked: Asked) -> Answer:
    """Answer with what the exchange lists, or of that what the parameters `symbol` or `symbols` name.

    Raises:
        RefusedError: A name is not listed, or the parameters are not to be read.
    """
    query = asked.query
    known = set(book.symbols(asked.now_ms))
    ids = {name: symbol for name, symbol in symbol_ids(book.market).items() if symbol in known}
    wanted: Iterable[str] = ids
    if "symbol" in query and "symbols" in query:
        raise refusal(-1128, "Combination of optional parameters invalid.")
    if "symbol" in query:
        if not _ID.fullmatch(query["symbol"]):
            raise _illegal("symbol", "^[\\w\\-._&&[^a-z]]{1,50}$")
        wanted = (query["symbol"],)
    elif "symbols" in query:
        if not _IDS.fullmatch(query["symbols"]):
            raise _illegal("symbols", _IDS.pattern)
        wanted = orjson.loads(query["symbols"])
    if any(name not in ids for name in wanted):
        raise refusal(-1121, "Invalid symbol.")
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE}
    about = {"timezone": "UTC", "serverTime": asked.now_ms, "rateLimits": [limit], "exchangeFilters": []}
    listings = [_listing(name, ids[name], book, asked.now_ms) for name in wanted]
    return answer_json({**about, "symbols": listings}, blank={**about, "symbols": []})


def too_much_weight(retry_after_s: int) -> RefusedError:
    """Return Binance's answer to an address over its limit."""
    message = (
        f"Too much request weight used; current limit is {WEIGHT_PER_MINUTE} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    return refusal(-1003, message, status=429, retry_after_s=retry_after_s)


def banned(until_ms: int, now_ms: int) -> RefusedError:
    """Return Binance's answer to an address that went on after it was told to stop."""
    message = (
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    return refusal(-1003, message, status=418, retry_after_s=-(-(until_ms - now_ms) // 1000))


def words(trouble: Trouble, now_ms: int) -> bytes:
    """Return what Binance says of a trouble."""
    said = {
        Trouble.RATE_LIMIT: lambda: too_much_weight(retry_after_s=1),
        Trouble.BAN: lambda: banned(now_ms + 2_000, now_ms),
        Trouble.INTERNAL: lambda: refusal(-1000, "An unknown error occurred while processing the request."),
        Trouble.OVERLOADED: lambda: refusal(-1008, "Server is currently overloaded with other requests."),
        Trouble.MAINTENANCE: lambda: refusal(-1016, "This service is no longer available."),
    }
    return said[trouble]().body


def _required(query: Mapping[str, str], name: str) -> str:
    if value := query.get(name):
        return value
    raise refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _number(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not query[name]:
        raise refusal(-1105, f"Parameter '{name}' was empty.")
    if not _NUMBER.fullmatch(query[name]):
        raise _illegal(name, "^[0-9]{1,20}$")
    return int(query[name])


def _illegal(name: str, legal: str) -> RefusedError:
    return refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _listing(name: str, symbol: str, book: Book, now_ms: int) -> dict[str, Any]:
    base, _, quote = symbol.partition(":")[0].partition("/")
    tick, lot = book.market.steps(symbol)
    return {
        "symbol": name,
        "status": "TRADING" if book.is_trading(symbol, now_ms) else "BREAK",
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


BINANCE = Dialect(
    name="binance",
    routes=(
        Route("ping", "/api/v3/ping", lambda book, asked: answer_json({})),
        Route("time", "/api/v3/time", lambda book, asked: answer_json({"serverTime": asked.now_ms})),
        Route("exchangeInfo", "/api/v3/exchangeInfo", exchange_info, weight=20),
        Route("klines", "/api/v3/klines", klines, weight=2),
    ),
    limits=lambda is_on: WeightLimits(is_on, WEIGHT_PER_MINUTE, too_much_weight, banned),
    words=words,
)
