"""Coinbase's Exchange REST protocol as values: what may be asked, how answers and refusals look.

Words on the wire are Coinbase's own (`product`, `granularity`).

Source: https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles
Source: https://docs.cdp.coinbase.com/exchange/rest-api/rate-limits
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from etl.replay.book import Book
from etl.replay.columns import bare, join
from etl.replay.limits import RateLimits
from etl.replay.market import Columns
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
from etl.timeframe import Timeframe, from_ms, to_ms

LAYOUT = Layout(time=0, unit_ms=1_000, close=4, high=2, low=1, is_newest_first=True)

_PER_S, _BURST = 10, 15
_MOST_STEPS = 300  # between start and end, so that 301 candles are the most there can be
_GRANULARITIES = {
    str(timeframe.ms // 1_000): timeframe
    for timeframe in (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H6, Timeframe.D1)
}


def refusal(message: str, status: int = 400) -> RefusedError:
    """Return a refusal in Coinbase's form."""
    return RefusedError(orjson.dumps({"message": message}), status=status)


def candles(book: Book, asked: Asked) -> Answer:
    """Answer with candles, newest first, the one that is forming included; a candle without trades is left out.

    Without both of start and end, the latest 300. The end is inclusive, and a start within a candle gives that one too.

    Raises:
        RefusedError: The product is not known, or Coinbase would not take the parameters.
    """
    symbol = _symbol(book, asked)
    timeframe = _GRANULARITIES.get(asked.query.get("granularity", "60"))
    if timeframe is None or timeframe not in book.market.timeframes(symbol):
        raise refusal("Unsupported granularity")
    start_ms, end_ms = _bounds(asked.query, timeframe)
    now_ms = asked.now_ms
    if start_ms is None or end_ms is None:
        limit = _MOST_STEPS
        pieces = book.last_candles(print_candles, symbol, timeframe, now_ms + 1, limit, now_ms)
    else:
        limit = _MOST_STEPS + 1
        first_ms = start_ms // timeframe.ms * timeframe.ms
        pieces = book.candles(print_candles, symbol, timeframe, first_ms, end_ms + 1, limit, now_ms)

    return Answer(
        pieces=pieces[::-1],
        layout=LAYOUT,
        window=Window(symbol, timeframe, start_ms, end_ms, limit, "candles"),
        forming=lambda: book.forming(print_candles, symbol, timeframe, now_ms),
    )


def print_candles(candles: Columns, timeframe: Timeframe) -> list[bytes]:
    """Encode candles as Coinbase prints them, in bare numbers."""
    values = (candles.low, candles.high, candles.open, candles.close, candles.volume)
    seconds = bare(pc.divide(candles.open_time_ms, 1_000))
    return join([*seconds, *(part for column in values for part in (",", *bare(_shortened(column))))])


def products(book: Book, asked: Asked) -> Answer:
    """Answer with every product, delisted ones included."""
    return answer_json([_product(book, symbol, asked.now_ms) for symbol in book.symbols(asked.now_ms)], blank=[])


def product(book: Book, asked: Asked) -> Answer:
    """Answer with one product.

    Raises:
        RefusedError: It is not known.
    """
    return answer_json(_product(book, _symbol(book, asked), asked.now_ms))


def currencies(book: Book, asked: Asked) -> Answer:
    """Answer with every currency that a product is of."""
    codes = dict.fromkeys(code for symbol in book.symbols(asked.now_ms) for code in to_id(symbol).split("-"))
    return answer_json(
        [
            {
                "id": code,
                "name": code,
                "min_size": "0.00000001",
                "max_precision": "0.00000001",
                "status": "online",
                "message": "",
                "convertible_to": [],
                "details": {"type": "crypto", "symbol": None},
                "default_network": "",
                "supported_networks": [],
            }
            for code in codes
        ]
    )


def clock(book: Book, asked: Asked) -> Answer:
    """Answer with the exchange's time."""
    iso = from_ms(asked.now_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return answer_json({"iso": iso, "epoch": asked.now_ms / 1_000})


def words(trouble: Trouble, now_ms: int) -> bytes:
    """Return what Coinbase says of a trouble."""
    message = {
        Trouble.RATE_LIMIT: "Public rate limit exceeded",
        Trouble.BAN: "Public rate limit exceeded",
        Trouble.INTERNAL: "Internal server error",
        Trouble.OVERLOADED: "Service unavailable",
        Trouble.MAINTENANCE: "Coinbase Exchange is under maintenance",
    }[trouble]
    return refusal(message).body


def to_id(symbol: str) -> str:
    """Return Coinbase's name of a symbol: `BTC-USD` of `BTC/USD`."""
    return symbol.partition(":")[0].replace("/", "-")


def _symbol(book: Book, asked: Asked) -> str:
    for symbol in book.market.symbols:
        if to_id(symbol) == asked.path["id"] and book.is_known(symbol, asked.now_ms):
            return symbol
    raise refusal("NotFound", status=404)


def _bounds(query: Mapping[str, str], timeframe: Timeframe) -> tuple[int | None, int | None]:
    if not query.get("start") or not query.get("end"):
        return None, None
    start_ms, end_ms = (_moment(query, name) for name in ("start", "end"))
    if end_ms < start_ms:
        raise refusal("start must be before end")
    if end_ms - start_ms > _MOST_STEPS * timeframe.ms:
        raise refusal("granularity too small for the requested time range. Count of aggregations requested exceeds 300")
    return start_ms, end_ms


def _moment(query: Mapping[str, str], name: str) -> int:
    text = query[name]
    try:
        moment = datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise refusal(f"Invalid {name}") from error
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _shortened(column: pa.Array) -> pa.Array:
    """Return decimal strings without zeros at the end of their fractions."""
    trimmed = pc.utf8_rtrim(pc.utf8_rtrim(column, "0"), ".")
    return pc.if_else(pc.match_substring(column, "."), trimmed, column)


def _product(book: Book, symbol: str, now_ms: int) -> dict[str, Any]:
    name = to_id(symbol)
    base, quote = name.split("-")
    tick, lot = book.market.steps(symbol)
    is_trading = book.is_trading(symbol, now_ms)
    return {
        "id": name,
        "base_currency": base,
        "quote_currency": quote,
        "quote_increment": tick,
        "base_increment": lot,
        "display_name": f"{base}/{quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online" if is_trading else "delisted",
        "status_message": "",
        "trading_disabled": not is_trading,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


COINBASE = Dialect(
    name="coinbase",
    routes=(
        Route("time", "/time", clock),
        Route("currencies", "/currencies", currencies),
        Route("products", "/products", products),
        Route("product", "/products/{id}", product),
        Route("candles", "/products/{id}/candles", candles),
    ),
    limits=lambda is_on: RateLimits(is_on, _PER_S, _BURST, lambda: refusal("Public rate limit exceeded", status=429)),
    words=words,
)
