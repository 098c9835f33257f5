"""Kraken's spot REST protocol as values: what may be asked, how answers and refusals look.

Every answer, a refusal too, comes with HTTP 200 as `{"error": [...], "result": ...}`. Words on the wire are Kraken's
own (`pair`, `interval`).

Source: https://docs.kraken.com/api-reference/market-data/get-ohlc-data
Source: https://docs.kraken.com/api-reference/market-data/get-recent-trades
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import orjson

from etl.replay.book import DAY_MS, Book
from etl.replay.kraken_names import PairNames, find_pair, names_of, print_assets, print_pair
from etl.replay.limits import RateLimits
from etl.replay.market import Row
from etl.replay.trades import MS, Tally, Trade
from etl.replay.wire import (
    Answer,
    Asked,
    Dialect,
    Layout,
    RefusedError,
    Route,
    Trouble,
    Window,
    WireRow,
    answer_json,
    to_pieces,
)
from etl.timeframe import Timeframe

CANDLES = Layout(time=0, unit_ms=1_000, close=4, high=2, low=3)
TRADES = Layout(time=2, unit_ms=1_000, close=0)

_PER_S, _BURST = 1, 5
_MOST_CANDLES, _MOST_TRADES = 720, 1_000
_INTERVALS = {
    str(timeframe.ms // 60_000): timeframe
    for timeframe in (
        Timeframe.M1,
        Timeframe.M5,
        Timeframe.M15,
        Timeframe.M30,
        Timeframe.H1,
        Timeframe.H4,
        Timeframe.D1,
    )
}
_NUMBER = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?")
_SECONDS_END = 10**12  # what is less is a number of seconds, else of nanoseconds
_NOTHING = Tally(0, 0.0)


def refusal(error: str) -> RefusedError:
    """Return a refusal in Kraken's form, such as `EQuery:Unknown asset pair`."""
    return RefusedError(orjson.dumps({"error": [error]}), status=200)


def ohlc(book: Book, asked: Asked) -> Answer:
    """Answer with candles after `since`, of the last 720; the last one is forming, and always there.

    A candle without trades is printed at the close before it.

    Raises:
        RefusedError: The pair is not known, or Kraken would not take the parameters.
    """
    pair = _pair(book, asked)
    timeframe = _INTERVALS.get(asked.query.get("interval", "1"))
    if timeframe is None or timeframe not in book.market.timeframes(pair.symbol):
        raise refusal("EGeneral:Invalid arguments")
    since_ns = _since_ns(asked.query)
    forming_ms = asked.now_ms // timeframe.ms * timeframe.ms
    start_ms = forming_ms - (_MOST_CANDLES - 1) * timeframe.ms
    if since_ns is not None:
        after_ms = (since_ns // MS // timeframe.ms + 1) * timeframe.ms
        start_ms = min(max(start_ms, after_ms), forming_ms)
    rows = _filled_rows(book, pair.symbol, timeframe, start_ms, asked.now_ms)
    last_s = (forming_ms - timeframe.ms) // 1_000 if rows else 0
    return Answer(
        head=b'{"error":[],"result":{"%b":' % pair.name.encode(),
        pieces=to_pieces(_to_wire(book, pair.symbol, timeframe, rows, asked.now_ms)),
        tail=b',"last":%d}}' % last_s,
        layout=CANDLES,
        window=Window(
            pair.symbol, timeframe, None if since_ns is None else since_ns // MS, None, _MOST_CANDLES, "OHLC"
        ),
    )


def trades(book: Book, asked: Asked) -> Answer:
    """Answer with the first trades after `since`, or with the latest ones.

    Raises:
        RefusedError: The pair is not known, or Kraken would not take the parameters.
    """
    pair = _pair(book, asked)
    since_ns = _since_ns(asked.query)
    count = asked.query.get("count", str(_MOST_TRADES))
    if not count.isdigit() or not 1 <= int(count) <= _MOST_TRADES:
        raise refusal("EGeneral:Invalid arguments")
    limit, end_ns = int(count), asked.now_ms * MS + 1
    if since_ns is None:
        pieces, last_ns = book.last_trades(print_trades, pair.symbol, end_ns, limit)
    else:
        pieces, last_ns = book.trades(print_trades, pair.symbol, since_ns + 1, end_ns, limit)
    return Answer(
        head=b'{"error":[],"result":{"%b":' % pair.name.encode(),
        pieces=pieces,
        tail=b',"last":"%d"}}' % (last_ns or since_ns or 0),
        layout=TRADES,
        window=Window(pair.symbol, None, None if since_ns is None else since_ns // MS, None, limit, "Trades"),
    )


def print_trades(trades: Sequence[Trade]) -> list[bytes]:
    """Encode trades as Kraken prints them."""
    return to_pieces(
        (
            trade.price,
            trade.volume,
            trade.time_ns / 1e9,
            "b" if trade.is_buy else "s",
            "m" if trade.is_market else "l",
            "",
            trade.id,
        )
        for trade in trades
    )


def asset_pairs(book: Book, asked: Asked) -> Answer:
    """Answer with every pair that can be traded, or those that the parameter `pair` names; delisted ones are gone.

    Raises:
        RefusedError: A pair is not known.
    """
    symbols = [symbol for symbol in book.market.symbols if book.is_trading(symbol, asked.now_ms)]
    if wanted := asked.query.get("pair"):
        found = [find_pair(symbols, name) for name in wanted.split(",")]
        if None in found:
            raise refusal("EQuery:Unknown asset pair")
        symbols = [pair.symbol for pair in found if pair is not None]
    pairs = [names_of(symbol) for symbol in symbols]
    listing = {pair.name: print_pair(pair, book.market.steps(pair.symbol)) for pair in pairs}
    return answer_json({"error": [], "result": listing}, blank={"error": [], "result": {}})


def assets(book: Book, asked: Asked) -> Answer:
    """Answer with every asset that a pair is of."""
    return _result(print_assets(names_of(symbol) for symbol in book.symbols(asked.now_ms)))


def clock(book: Book, asked: Asked) -> Answer:
    """Answer with the exchange's time."""
    moment = datetime.fromtimestamp(asked.now_ms // 1_000, UTC)
    return _result({"unixtime": asked.now_ms // 1_000, "rfc1123": f"{moment:%a, %d %b %y %H:%M:%S} +0000"})


def system_status(book: Book, asked: Asked) -> Answer:
    """Answer that all is well; faults say otherwise."""
    moment = datetime.fromtimestamp(asked.now_ms // 1_000, UTC)
    return _result({"status": "online", "timestamp": f"{moment:%Y-%m-%dT%H:%M:%SZ}"})


def words(trouble: Trouble, now_ms: int) -> bytes:
    """Return what Kraken says of a trouble."""
    error = {
        Trouble.RATE_LIMIT: "EAPI:Rate limit exceeded",
        Trouble.BAN: "EGeneral:Temporary lockout",
        Trouble.INTERNAL: "EGeneral:Internal error",
        Trouble.OVERLOADED: "EService:Busy",
        Trouble.MAINTENANCE: "EService:Unavailable",
    }[trouble]
    return refusal(error).body


def _result(result: object) -> Answer:
    return answer_json({"error": [], "result": result})


def _pair(book: Book, asked: Asked) -> PairNames:
    name = asked.query.get("pair")
    if not name:
        raise refusal("EGeneral:Invalid arguments")
    pair = find_pair(book.market.symbols, name)
    if pair is None or not book.is_trading(pair.symbol, asked.now_ms):
        raise refusal("EQuery:Unknown asset pair")
    return pair


def _since_ns(query: Mapping[str, str]) -> int | None:
    text = query.get("since")
    if not text:
        return None
    if not _NUMBER.fullmatch(text):
        raise refusal("EGeneral:Invalid arguments")
    return int(Decimal(text) * (10**9 if Decimal(text) < _SECONDS_END else 1))


def _filled_rows(book: Book, symbol: str, timeframe: Timeframe, start_ms: int, now_ms: int) -> list[Row]:
    """Return the candles from `start_ms` (on the grid) until now, silent ones at the close before them.

    There is none before the first candle ever.
    """
    served = book.market.rows(symbol, timeframe, start_ms, now_ms + 1, _MOST_CANDLES * 2, now_ms)
    at_ms, rows = start_ms, list[Row]()
    before = book.market.last_rows(symbol, timeframe, start_ms, 1)
    close = before[-1].close if before else None
    for row in (*served, None):
        until_ms = row.open_time_ms if row else now_ms + 1
        if before or rows:
            rows += [_silent(silent_ms, close) for silent_ms in range(at_ms, until_ms, timeframe.ms)]
        if row:
            rows.append(row)
            at_ms, close = row.open_time_ms + timeframe.ms, row.close
    return rows


def _silent(open_time_ms: int, close: str | None) -> Row:
    return Row(open_time_ms, close, close, close, close, "0.00000000", "0", 0, "0", "0")


def _to_wire(book: Book, symbol: str, timeframe: Timeframe, rows: Iterable[Row], now_ms: int) -> list[WireRow]:
    places = len(book.market.steps(symbol).tick.rstrip("0").partition(".")[2])
    wire = []
    for t, o, h, lo, c, volume, *_ in rows:
        is_forming = t + timeframe.ms > now_ms
        closed = {} if is_forming else book.tallies(symbol, timeframe, t // DAY_MS)
        trades, vwap = book.tally_until(symbol, t, now_ms) if is_forming else closed.get(t, _NOTHING)
        wire.append((t // 1_000, o, h, lo, c, f"{vwap:.{places}f}", volume, trades))
    return wire


KRAKEN = Dialect(
    name="kraken",
    routes=(
        Route("Time", "/0/public/Time", clock),
        Route("SystemStatus", "/0/public/SystemStatus", system_status),
        Route("Assets", "/0/public/Assets", assets),
        Route("AssetPairs", "/0/public/AssetPairs", asset_pairs),
        Route("OHLC", "/0/public/OHLC", ohlc, is_long=True),
        Route("Trades", "/0/public/Trades", trades),
    ),
    limits=lambda is_on: RateLimits(is_on, _PER_S, _BURST, lambda: refusal("EGeneral:Too many requests")),
    words=words,
    maintenance_status=200,
)
