"""Exchanges that the replay does not speak for: just enough of each one's public protocol, over made-up candles.

What a venue does here is written from its own documentation, and knows nothing of Chandler's table: a contract between
the two would be worth little if one had copied from the other.

Source: https://bybit-exchange.github.io/docs/v5/market/kline
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
Source: https://www.bitstamp.net/api/#tag/Market-info/operation/GetOHLCData
Source: https://docs.bitfinex.com/reference/rest-public-candles
Source: https://www.gate.com/docs/developers/apiv4/#market-k-line-chart
Source: https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-klines
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web

from tests.extract.venue_candles import LISTED_MS, SYMBOLS, UNITS_MS, candles


class Asked(NamedTuple):
    """A request for candles or anything else: its parameters, those in the path included, and the exchange's time."""

    query: Mapping[str, str]
    now_ms: int

    def number(self, name: str, usual: int) -> int:
        """Return a parameter that is a whole number."""
        return int(self.query.get(name, usual))


class RefusedError(Exception):
    """Refusal of an exchange."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


def _width_ms(name: str, names: Mapping[str, str]) -> int:
    plain = names.get(name, name)
    return int(plain[:-1]) * UNITS_MS[plain[-1]]


def _listed(sign: str) -> dict[str, tuple[str, str]]:
    pairs = (symbol.split("/") for symbol in SYMBOLS)
    return {f"{base}{sign}{quote}": (base, quote) for base, quote in pairs}


def _bybit_result(result: Any, now_ms: int = 0) -> Any:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms}


def _bybit_instruments(asked: Asked) -> Any:
    listed = [
        {
            "symbol": name,
            "baseCoin": base,
            "quoteCoin": quote,
            "status": "Trading",
            "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.00000001"},
            "priceFilter": {"tickSize": "0.01"},
        }
        for name, (base, quote) in _listed("").items()
    ]
    return _bybit_result({"category": asked.query["category"], "list": listed})


def _bybit_kline(asked: Asked) -> Any:
    query = asked.query
    if query["symbol"] not in _listed("") or query["category"] != "spot":
        raise RefusedError(200, {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}})
    minutes = {"60": "1h", "120": "2h", "240": "4h", "360": "6h", "720": "12h", "D": "1d"}
    interval = query["interval"]
    width_ms = _width_ms(minutes.get(interval, f"{interval}m"), {})
    # Of what the window holds, the newest; newest first.
    start_ms, end_ms = asked.number("start", 0), asked.number("end", asked.now_ms)
    rows = candles(width_ms, start_ms, end_ms, asked.now_ms, prints_empty=False)
    limit = min(asked.number("limit", 200), 1000)
    newest = [[str(row.open_ms), *row[1:], "1"] for row in rows[-limit:][::-1]]
    return _bybit_result({"category": "spot", "symbol": query["symbol"], "list": newest}, asked.now_ms)


def _okx_instruments(asked: Asked) -> Any:
    listed = [
        {"instType": asked.query["instType"], "instId": name, "baseCcy": base, "quoteCcy": quote, "state": "live"}
        | {"tickSz": "0.1", "lotSz": "0.00000001", "minSz": "0.00001", "listTime": str(LISTED_MS)}
        for name, (base, quote) in _listed("-").items()
    ]
    return {"code": "0", "msg": "", "data": listed}


def _okx_candles(asked: Asked, *, is_history: bool) -> Any:
    query, now_ms = asked.query, asked.now_ms
    if query["instId"] not in _listed("-"):
        raise RefusedError(200, {"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []})
    if asked.number("limit", 100) > 300:
        raise RefusedError(400, {"code": "51000", "msg": "Parameter limit error", "data": []})
    names = {"1H": "1h", "2H": "2h", "4H": "4h", "6Hutc": "6h", "12Hutc": "12h", "1Dutc": "1d"}
    width_ms = _width_ms(query["bar"], names)
    # `after` means earlier than, `before` later than; both exclusive. The latest 1,440 alone outside of the history.
    first_ms, last_ms = asked.number("before", 0) + 1, asked.number("after", now_ms + 1) - 1
    if not is_history:
        first_ms = max(first_ms, now_ms // width_ms * width_ms - 1439 * width_ms)
    rows = candles(width_ms, first_ms, last_ms, now_ms, prints_empty=True, is_forming_served=not is_history)
    newest = rows[-asked.number("limit", 100) :][::-1]
    closed = now_ms // width_ms * width_ms
    data = [[str(row.open_ms), *row[1:], "1", "1", "1" if row.open_ms < closed else "0"] for row in newest]
    return {"code": "0", "msg": "", "data": data}


def _bitstamp_markets(asked: Asked) -> Any:
    return [
        {"name": f"{base}/{quote}", "market_symbol": name.lower(), "base_currency": base, "counter_currency": quote}
        | {"base_decimals": 8, "counter_decimals": 2, "minimum_order_value": "10", "trading": "Enabled"}
        | {"market_type": "SPOT"}
        for name, (base, quote) in _listed("").items()
    ]


def _bitstamp_ohlc(asked: Asked) -> Any:
    limit = asked.number("limit", 10)
    if not 1 <= limit <= 1000:
        raise RefusedError(400, {"code": "invalid", "errors": [{"field": "limit", "message": "1 to 1000"}]})
    width_ms = asked.number("step", 60) * 1000
    start_ms, end_ms = asked.number("start", 0) * 1000, asked.number("end", asked.now_ms // 1000) * 1000
    rows = candles(width_ms, start_ms, end_ms, asked.now_ms, prints_empty=True)[:limit]
    ohlc = [{**row._asdict(), "timestamp": str(row.open_ms // 1000)} for row in rows]
    return {"data": {"pair": asked.query["pair"], "ohlc": ohlc}}


def _bitfinex_conf(asked: Asked) -> Any:
    names = {"USDT": "UST"}
    pairs = [
        [f"{base}{names.get(quote, quote)}", [None, None, None, "0.0002", "2000"]]
        for base, quote in _listed("").values()
    ]
    return [pairs, [], [], []]


def _bitfinex_candles(asked: Asked) -> Any:
    limit = asked.number("limit", 100)
    if not 1 <= limit <= 10_000:
        raise RefusedError(500, ["error", 10020, "limit: invalid"])
    width_ms = _width_ms(asked.query["timeframe"], {"1D": "1d"})
    start_ms, end_ms = asked.number("start", 0), asked.number("end", asked.now_ms)
    rows = candles(width_ms, start_ms, end_ms, asked.now_ms, prints_empty=False)
    rows = rows[:limit] if asked.query.get("sort") == "1" else rows[::-1][:limit]
    numbers = ([float(text) for text in row[1:]] for row in rows)
    return [[row.open_ms, o, c, h, low, v] for row, (o, h, low, c, v) in zip(rows, numbers, strict=True)]


def _gate_pairs(asked: Asked) -> Any:
    return [
        {"id": name, "base": base, "quote": quote, "fee": "0.2", "amount_precision": 6, "precision": 2}
        | {"trade_status": "tradable", "min_base_amount": "0.0001", "min_quote_amount": "1"}
        for name, (base, quote) in _listed("_").items()
    ]


def _gate_candlesticks(asked: Asked) -> Any:
    if asked.query["currency_pair"] not in _listed("_"):
        raise RefusedError(400, {"label": "INVALID_CURRENCY_PAIR", "message": "Invalid currency pair"})
    if "limit" in asked.query:
        raise RefusedError(400, {"label": "INVALID_PARAM_VALUE", "message": "limit conflicts with from and to"})
    width_ms = _width_ms(asked.query["interval"], {})
    from_ms, to_ms = asked.number("from", 0) * 1000, asked.number("to", asked.now_ms // 1000) * 1000
    if to_ms - from_ms > 999 * width_ms:
        raise RefusedError(
            400, {"label": "INVALID_PARAM_VALUE", "message": "Candlestick range too broad. Maximum 1000"}
        )
    if from_ms < asked.now_ms - 10_000 * width_ms:
        raise RefusedError(400, {"label": "INVALID_PARAM_VALUE", "message": "Candlestick too long ago. Maximum 10000"})
    rows = candles(width_ms, from_ms, to_ms, asked.now_ms, prints_empty=False)
    return [[str(r.open_ms // 1000), "1", r.close, r.high, r.low, r.open, r.volume, "true"] for r in rows]


def _kucoin_symbols(asked: Asked) -> Any:
    listed = [
        {"symbol": name, "baseCurrency": base, "quoteCurrency": quote, "enableTrading": True}
        | {"baseIncrement": "0.00000001", "priceIncrement": "0.1", "baseMinSize": "0.00001"}
        for name, (base, quote) in _listed("-").items()
    ]
    return {"code": "200000", "data": listed}


def _kucoin_candles(asked: Asked) -> Any:
    query = asked.query
    if query["symbol"] not in _listed("-"):
        raise RefusedError(400, {"code": "400100", "msg": "This pair is not provided at present"})
    unit = query["type"].lstrip("0123456789")
    width_ms = int(query["type"].removesuffix(unit)) * UNITS_MS[unit[0]]
    # The end is exclusive; without bounds there is nothing.
    start_ms, end_ms = asked.number("startAt", 0) * 1000, asked.number("endAt", 0) * 1000
    rows = candles(width_ms, start_ms, end_ms - 1, asked.now_ms, prints_empty=False)[-1500:][::-1]
    data = [[str(r.open_ms // 1000), r.open, r.close, r.high, r.low, r.volume, "1"] for r in rows]
    return {"code": "200000", "data": data}


_ROUTES: Mapping[str, Callable[[Asked], Any]] = {
    "/v5/market/time": lambda asked: _bybit_result({"timeSecond": str(asked.now_ms // 1000)}, asked.now_ms),
    "/v5/market/instruments-info": _bybit_instruments,
    "/v5/market/kline": _bybit_kline,
    "/api/v5/public/time": lambda asked: {"code": "0", "data": [{"ts": str(asked.now_ms)}], "msg": ""},
    "/api/v5/public/instruments": _okx_instruments,
    "/api/v5/market/candles": lambda asked: _okx_candles(asked, is_history=False),
    "/api/v5/market/history-candles": lambda asked: _okx_candles(asked, is_history=True),
    "/api/v2/markets/": _bitstamp_markets,
    "/api/v2/ohlc/{pair}/": _bitstamp_ohlc,
    "/v2/conf/{config}": _bitfinex_conf,
    "/v2/candles/trade:{timeframe}:{symbol}/hist": _bitfinex_candles,
    "/api/v4/spot/time": lambda asked: {"server_time": asked.now_ms},
    "/api/v4/spot/currency_pairs": _gate_pairs,
    "/api/v4/margin/currency_pairs": lambda asked: [],
    "/api/v4/spot/candlesticks": _gate_candlesticks,
    "/api/v1/timestamp": lambda asked: {"code": "200000", "msg": "success", "data": asked.now_ms},
    "/api/v2/symbols": _kucoin_symbols,
    "/api/v1/market/allTickers": lambda asked: {"code": "200000", "data": {"time": asked.now_ms, "ticker": []}},
    "/api/v1/market/candles": _kucoin_candles,
}

TOO_MUCH: Mapping[str, tuple[int, Any]] = {
    "bybit": (200, {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}),
    "okx": (429, {"code": "50011", "msg": "Too Many Requests", "data": []}),
    "bitstamp": (429, "Too Many Requests"),
    "bitfinex": (429, ["error", 11010, "ratelimit: error"]),
    "gate": (429, {"label": "TOO_MANY_REQUESTS", "message": "Request Rate limit Exceeded"}),
    "kucoin": (429, {"code": "429000", "msg": "Too many requests. System-level rate limit exceeded."}),
}
"""How each says that it is asked for too much."""


class OtherVenues:
    """All of them on one local port; their paths do not meet. Runs in a thread, as a context manager.

    Attributes:
        refusal: What everything is answered with, if it is set.
        requests: How often each path was asked for.
    """

    def __init__(self) -> None:
        self.refusal: tuple[int, Any] | None = None
        self.requests: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application()
        for path, answer in _ROUTES.items():
            app.router.add_get(path, self._handler(answer))
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        addresses: Sequence[Any] = self._runner.addresses
        return f"http://127.0.0.1:{addresses[0][1]}"

    def _handler(self, answer: Callable[[Asked], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.requests[request.path] += 1
            asked = Asked({**request.query, **request.match_info}, time.time_ns() // 1_000_000)
            status, body = self.refusal or (200, None)
            if self.refusal is None:
                try:
                    body = answer(asked)
                except RefusedError as refused:
                    status, body = refused.status, refused.body
            text = body if isinstance(body, str) else json.dumps(body)
            return web.Response(status=status, text=text, content_type="application/json")

        return handle
