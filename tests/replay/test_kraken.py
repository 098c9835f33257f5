"""Kraken's protocol over real HTTP, asked by ccxt itself and by a plain client."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import ccxt
import pyarrow.parquet as pq
import pytest

from etl.replay import MadeUpMarket, RecordedMarket, ReplayServer
from etl.timeframe import Timeframe
from tests.replay.real_ccxt import pointed

pytestmark = pytest.mark.enable_socket

MINUTE_MS = Timeframe.M1.ms
NOW_MS = 1_717_590_860_000  # 2024-06-05 12:34:20
FORMING_S = NOW_MS // MINUTE_MS * 60
MARKET = MadeUpMarket(
    seed=7, symbols=("BTC/USD", "ETH/USD", "DOGE/USD", "ADA/EUR", "ETH/BTC", "BTC/USDT", "SOL/USD", "XRP/USD")
)


@pytest.fixture
def server() -> Iterator[ReplayServer]:
    """Serve a made-up market whose clock stands still."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS, limits=False) as running:
        yield running


def _ohlc(ask: Any, server: ReplayServer, pair: str = "XXBTZUSD", **params: object) -> list[list[Any]]:
    body = ask(server, "/0/public/OHLC", pair=pair, **params).json
    assert body["error"] == []
    [name] = set(body["result"]) - {"last"}
    return body["result"][name]


def _walk_trades(ask: Any, server: ReplayServer, pair: str, since_ns: int, until_ns: int) -> list[list[Any]]:
    """Return the trades after `since_ns`, page by page as Kraken says to."""
    rows: list[list[Any]] = []
    since = str(since_ns)
    while int(since) < until_ns:
        result = ask(server, "/0/public/Trades", pair=pair, since=since).json["result"]
        [name] = set(result) - {"last"}
        rows += result[name]
        if result["last"] == since:
            break
        since = result["last"]
    return [row for row in rows if row[2] * 1e9 < until_ns]


def test_ccxt_lists_and_reads_the_market(server: ReplayServer) -> None:
    """Kraken's names of assets and pairs come out as unified symbols, and candles as those of the market."""
    exchange = pointed("kraken", server)
    assert set(exchange.load_markets()) == set(MARKET.symbols)
    ids = {symbol: exchange.market(symbol)["id"] for symbol in MARKET.symbols}
    assert ids["BTC/USD"] == "XXBTZUSD"
    assert (ids["ETH/BTC"], ids["BTC/USDT"], ids["DOGE/USD"]) == ("XETHXXBT", "XBTUSDT", "XDGUSD")
    assert exchange.markets["BTC/USD"]["info"]["wsname"] == "XBT/USD"
    assert exchange.markets["BTC/USD"]["precision"] == {"price": 0.01, "amount": 1e-8}
    assert exchange.fetch_time() == NOW_MS // 1_000 * 1_000
    assert exchange.fetch_status()["status"] == "ok"
    for name in ("1m", "5m", "15m", "30m", "1h", "4h"):
        timeframe = Timeframe(name)
        start_ms = NOW_MS // timeframe.ms * timeframe.ms - 20 * timeframe.ms
        rows = exchange.fetch_ohlcv("BTC/USD", name, since=start_ms)
        expected = MARKET.rows("BTC/USD", timeframe, start_ms, NOW_MS, 60, NOW_MS)
        assert rows == [[row.open_time_ms, *map(float, row[1:6])] for row in expected]


def test_only_the_last_720_are_served(ask: Any, server: ReplayServer) -> None:
    """However old `since` is; `since` itself is left out, and the one that forms is always there."""
    for params in ({}, {"since": 0}, {"since": FORMING_S - 100 * 86_400}):
        rows = _ohlc(ask, server, **params)
        assert [row[0] for row in rows] == [FORMING_S + 60 * n for n in range(-719, 1)]
    assert [row[0] for row in _ohlc(ask, server, since=FORMING_S - 120)] == [FORMING_S - 60, FORMING_S]
    assert [row[0] for row in _ohlc(ask, server, since=FORMING_S - 121)] == [FORMING_S - 120, FORMING_S - 60, FORMING_S]
    assert [row[0] for row in _ohlc(ask, server, since=FORMING_S + 3_600)] == [FORMING_S]
    result = ask(server, "/0/public/OHLC", pair="XBTUSD").json["result"]
    assert result["last"] == FORMING_S - 60
    assert [window.route for window in server.windows] == ["OHLC"] * 7
    assert (server.windows[0].start_ms, server.windows[1].start_ms, server.windows[0].limit) == (None, 0, 720)


def test_a_silent_minute_is_printed_at_the_close_before(ask: Any) -> None:
    """No volume, no trades, no mean price; the neighbours are the market's."""
    start_ms = NOW_MS - 60 * 86_400_000
    times = [row.open_time_ms for row in MARKET.rows("BTC/USD", Timeframe.M1, start_ms, NOW_MS, 1 << 20)]
    before_ms, after_ms = next((a, b) for a, b in pairwise(times) if b - a > 3 * MINUTE_MS)
    with ReplayServer(MARKET, clock=lambda: after_ms + 5 * MINUTE_MS, limits=False) as running:
        rows = _ohlc(ask, running, since=before_ms // 1_000 - 60)
    assert [row[0] for row in rows] == list(range(before_ms // 1_000, after_ms // 1_000 + 301, 60))
    close = rows[0][4]
    silent = [row for row in rows if before_ms < row[0] * 1_000 < after_ms]
    assert silent
    assert {tuple(row[1:5]) for row in silent} == {(close,) * 4}
    assert {(float(row[5]), float(row[6]), row[7]) for row in silent} == {(0.0, 0.0, 0)}


def test_candles_can_be_built_from_trades(ask: Any, server: ReplayServer) -> None:
    """Both routes tell the same: prices, volume, count and mean price of every closed minute of two hours."""
    until_s = FORMING_S
    candles = [row for row in _ohlc(ask, server, "ETHUSD") if until_s - 7_200 <= row[0] < until_s]
    trades = _walk_trades(ask, server, "ETHUSD", (until_s - 7_200) * 10**9 - 1, until_s * 10**9)
    assert len(candles) == 120
    for candle in candles:
        inside = [trade for trade in trades if candle[0] <= trade[2] < candle[0] + 60]
        prices = [Decimal(trade[0]) for trade in inside]
        volumes = [Decimal(trade[1]) for trade in inside]
        built = (prices[0], max(prices), min(prices), prices[-1])
        assert built == tuple(map(Decimal, candle[1:5]))
        assert (sum(volumes), len(inside)) == (Decimal(candle[6]), candle[7])
        vwap = sum(price * volume for price, volume in zip(prices, volumes, strict=True)) / sum(volumes)
        assert abs(vwap - Decimal(candle[5])) <= Decimal("0.01")


def test_trades_are_paged_by_the_nanosecond(ask: Any, server: ReplayServer) -> None:
    """A thousand at most, ascending, none twice and none left out, whatever the size of a page; none to come."""
    since_ns = (FORMING_S - 86_400) * 10**9
    walked = _walk_trades(ask, server, "XBTUSD", since_ns, NOW_MS * 10**6)
    ids = [row[6] for row in walked]
    assert len(ids) > 4_000
    assert ids == sorted(set(ids))
    assert [row[2] for row in walked] == sorted(row[2] for row in walked)
    assert walked[-1][2] <= NOW_MS / 1_000
    first = ask(server, "/0/public/Trades", pair="XBTUSD", since=since_ns).json["result"]["XXBTZUSD"]
    assert len(first) == 1_000
    two = ask(server, "/0/public/Trades", pair="XBTUSD", since=since_ns, count=2).json["result"]
    rest = ask(server, "/0/public/Trades", pair="XBTUSD", since=two["last"]).json["result"]["XXBTZUSD"]
    assert two["XXBTZUSD"] + rest[:998] == first
    in_seconds = ask(server, "/0/public/Trades", pair="XBTUSD", since=FORMING_S - 86_400).json["result"]["XXBTZUSD"]
    assert in_seconds == first
    latest = ask(server, "/0/public/Trades", pair="XBTUSD").json["result"]
    assert latest["XXBTZUSD"] == walked[-1_000:]
    done = ask(server, "/0/public/Trades", pair="XBTUSD", since=latest["last"]).json["result"]
    assert done == {"XXBTZUSD": [], "last": latest["last"]}
    assert {trade["side"] for trade in pointed("kraken", server).fetch_trades("BTC/USD")} == {"buy", "sell"}


def test_trades_seen_stay_as_they_are(ask: Any) -> None:
    """The trades so far in the minute that forms are the beginning of all that it will have."""
    now_ms = [NOW_MS]
    with ReplayServer(MARKET, clock=lambda: now_ms[0], limits=False) as running:
        args = (ask, running, "XBTUSD", (FORMING_S - 600) * 10**9, (FORMING_S + 600) * 10**9)
        early = _walk_trades(*args)
        now_ms[0] += 2 * MINUTE_MS
        later = _walk_trades(*args)
    assert later[: len(early)] == early
    assert len(later) > len(early)


@pytest.mark.parametrize(
    ("path", "params", "error"),
    [
        ("OHLC", {"pair": "NOPEUSD"}, "EQuery:Unknown asset pair"),
        ("Trades", {"pair": "NOPEUSD"}, "EQuery:Unknown asset pair"),
        ("AssetPairs", {"pair": "XXBTZUSD,NOPEUSD"}, "EQuery:Unknown asset pair"),
        ("OHLC", {}, "EGeneral:Invalid arguments"),
        ("OHLC", {"pair": "XBTUSD", "interval": 3}, "EGeneral:Invalid arguments"),
        ("Trades", {"pair": "XBTUSD", "count": 0}, "EGeneral:Invalid arguments"),
        ("Trades", {"pair": "XBTUSD", "since": "yesterday"}, "EGeneral:Invalid arguments"),
    ],
)
def test_bad_requests_are_refused_with_status_200(
    ask: Any, server: ReplayServer, path: str, params: dict[str, object], error: str
) -> None:
    """Kraken says all that is wrong in the body."""
    answer = ask(server, f"/0/public/{path}", **params)
    assert (answer.status, answer.json) == (200, {"error": [error]})


def test_one_a_second_and_five_at_once(ask: Any) -> None:
    """The refusal comes with status 200, and ccxt knows it."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS) as running:
        answers = [ask(running, "/0/public/Time").json["error"] for _ in range(8)]
        assert answers[:5] == [[]] * 5
        assert answers[-1] == ["EGeneral:Too many requests"]
        with pytest.raises(ccxt.DDoSProtection):
            pointed("kraken", running).publicGetTime()


def test_recordings_are_served_value_for_value(real_data: Path, ask: Any) -> None:
    """The last 720 candles of a recording, float for float; its empty minutes are printed silent."""
    table = pq.read_table(real_data / "bitfinex/LTC-USD/1m.parquet").to_pandas().sort_values("open_time")
    last_s = int(table["open_time"].iloc[-1].timestamp())
    recorded = {int(row.open_time.timestamp()): row for row in table.tail(720).itertuples()}
    with ReplayServer(RecordedMarket(real_data, "bitfinex"), clock=lambda: last_s * 1_000, limits=False) as running:
        rows = _ohlc(ask, running, "XLTCZUSD")
    assert [row[0] for row in rows] == [last_s + 60 * n for n in range(-719, 1)]
    spoken = [row for row in rows[:-1] if row[0] in recorded]
    assert len(spoken) > 400
    for row in spoken:
        was = recorded[row[0]]
        expected = (was.open, was.high, was.low, was.close, was.volume)
        assert tuple(float(row[number]) for number in (1, 2, 3, 4, 6)) == expected
        assert row[7] >= 1
        assert was.low <= float(row[5]) <= was.high
    assert {row[7] for row in rows if row[0] not in recorded} <= {0}
