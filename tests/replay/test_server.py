"""The replay exchange over real HTTP, asked by ccxt itself and by a plain client."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.async_support as ccxt
import pytest

from etl.errors import ConfigError
from etl.replay import MadeUpMarket, ReplayServer
from etl.timeframe import Timeframe
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.enable_socket

MINUTE_MS = Timeframe.M1.ms
NOW_MS = 1_717_590_860_000  # 2024-06-05 12:34:20
START_MS = 1_717_545_600_000  # midnight before
MARKET = MadeUpMarket(seed=7)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Return the moment it was set to."""
        return self.now_ms


def _with_ccxt(server: ReplayServer, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        exchange = ccxt.binance({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
        exchange.urls["api"]["public"] = f"{server.url}/api/v3"
        exchange.has["fetchCurrencies"] = False
        try:
            return await work(exchange)
        finally:
            await exchange.close()

    return asyncio.run(run())


def test_ccxt_lists_and_walks_the_market() -> None:
    """Ccxt loads the markets with their steps, and pages by its implicit method give every candle up to now."""

    async def walk(exchange: Any) -> tuple[Any, list[Any]]:
        markets = await exchange.load_markets()
        rows: list[Any] = []
        start_ms = START_MS
        while start_ms <= NOW_MS:
            end_ms = start_ms + 300 * MINUTE_MS
            params = {"symbol": "BTCUSDT", "interval": "1m", "startTime": start_ms, "endTime": end_ms - 1}
            rows += await exchange.publicGetKlines({**params, "limit": 1_000})
            start_ms = end_ms
        return markets, rows

    with ReplayServer(MARKET, clock=Clock()) as server:
        markets, rows = _with_ccxt(server, walk)
        windows = list(server.windows)
    assert list(markets) == list(MARKET.symbols)
    assert markets["BTC/USDT"]["precision"]["price"] == 0.01
    assert markets["BTC/USDT"]["active"]
    expected = MARKET.rows("BTC/USDT", Timeframe.M1, START_MS, NOW_MS + 1, 1_000, NOW_MS)
    assert [tuple(row[:6]) for row in rows] == [tuple(row[:6]) for row in expected]
    assert [row[7:11] for row in rows] == [list(row[6:]) for row in expected]
    assert rows[-1][6] > NOW_MS  # the forming one, as Binance does
    assert server.requests == {"/api/v3/exchangeInfo": 1, "/api/v3/klines": 3}
    assert [window.start_ms for window in windows] == [START_MS + n * 300 * MINUTE_MS for n in range(3)]
    assert windows[0].symbol == "BTC/USDT"


def test_windows_are_read_as_binance_reads_them(ask: Any) -> None:
    """500 rows unless said otherwise, 1,000 at most, the latest without a start, an end that is inclusive."""

    def opens(**params: int) -> list[int]:
        return [row[0] for row in ask(server, "klines", symbol="ETHUSDT", interval="1m", **params).json]

    with ReplayServer(MARKET, clock=Clock()) as server:
        assert opens(startTime=START_MS, endTime=START_MS + 2 * MINUTE_MS) == [
            START_MS + n * MINUTE_MS for n in range(3)
        ]
        assert opens(startTime=START_MS + 1, limit=1) == [START_MS + MINUTE_MS]
        assert len(opens(startTime=0)) == 500
        assert len(opens(startTime=0, limit=5_000)) == 1_000
        assert opens(limit=2) == [NOW_MS // MINUTE_MS * MINUTE_MS + n * MINUTE_MS for n in (-1, 0)]
        assert opens(endTime=START_MS, limit=2) == [START_MS - MINUTE_MS, START_MS]
        assert opens(startTime=NOW_MS) == opens(startTime=10**19) == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOPEUSDT", "interval": "1m"}, -1121),
        ({"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ({"interval": "1m"}, -1102),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"symbol": "BTC/USDT", "interval": "1m"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1m", "startTime": "yesterday"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1m", "limit": "0"}, -1130),
        ({"symbol": "BTCUSDT", "interval": "1m", "endTime": ""}, -1105),
    ],
)
def test_bad_requests_are_refused_in_binances_words(ask: Any, params: dict[str, str], code: int) -> None:
    """HTTP 400 with Binance's code."""
    with ReplayServer(MARKET) as server:
        answer = ask(server, "klines", **params)
    assert (answer.status, answer.json["code"]) == (400, code)


def test_ccxt_knows_the_refusals() -> None:
    """An unknown symbol and a spent limit arrive as the errors that ccxt has for them."""

    async def fail(exchange: Any) -> None:
        with pytest.raises(ccxt.BadSymbol):
            await exchange.publicGetKlines({"symbol": "NOPEUSDT", "interval": "1m"})
        server.faults.add("http_429")
        with pytest.raises(ccxt.DDoSProtection, match="Too much request weight"):
            await exchange.publicGetKlines({"symbol": "BTCUSDT", "interval": "1m"})
        assert exchange.last_response_headers["Retry-After"] == "1"

    with ReplayServer(MARKET) as server:
        _with_ccxt(server, fail)


def test_exchange_info_can_be_narrowed(ask: Any) -> None:
    """One symbol, several, or a refusal when one of them is not listed."""
    with ReplayServer(MARKET) as server:
        one = ask(server, "exchangeInfo", symbol="BTCUSDT").json
        two = ask(server, "exchangeInfo", symbols='["ETHUSDT","BTCUSDT"]').json
        none = ask(server, "exchangeInfo", symbols='["ETHUSDT","NOPE"]').json
    assert [listing["symbol"] for listing in one["symbols"]] == ["BTCUSDT"]
    assert [listing["symbol"] for listing in two["symbols"]] == ["ETHUSDT", "BTCUSDT"]
    assert none["code"] == -1121


def test_weight_is_counted_refused_and_forgotten_with_the_minute(ask: Any) -> None:
    """6,000 a clock minute; beyond it 429, for those who go on 418, and once the ban is over all is well."""
    clock = Clock()
    with ReplayServer(MARKET, clock=clock) as server:
        used = [ask(server, name).headers["X-MBX-USED-WEIGHT-1M"] for name in ("ping", "time", "exchangeInfo")]
        assert used == ["1", "2", "22"]
        for _ in range(298):
            assert ask(server, "exchangeInfo").status == 200
        assert [ask(server, "ping").status for _ in range(18)] == [200] * 18  # the last of the 6,000
        refused = ask(server, "exchangeInfo")
        assert (refused.status, refused.json["code"]) == (429, -1003)
        assert refused.headers["Retry-After"] == "40"  # it is 20 s past the minute
        assert "limit is 6000 request weight" in refused.json["msg"]
        clock.now_ms += 40_000
        assert ask(server, "ping").headers["X-MBX-USED-WEIGHT-1M"] == "1"
        statuses = [ask(server, "exchangeInfo").status for _ in range(320)]
        assert statuses == [200] * 299 + [429] * 20 + [418]
        clock.now_ms += 60_000
        banned = ask(server, "ping")
        assert (banned.status, banned.headers["Retry-After"]) == (418, "60")
        assert f"IP banned until {clock.now_ms + 60_000}" in banned.json["msg"]
        clock.now_ms += 60_000
        assert ask(server, "ping").status == 200


def test_what_was_answered_is_counted(ask: Any) -> None:
    """By status, and for Binance the weight that was accepted, by clock minute: never more than the limit."""
    clock = Clock()
    with ReplayServer(MARKET, clock=clock) as server:
        statuses = [ask(server, "exchangeInfo").status for _ in range(305)]
        clock.now_ms += MINUTE_MS
        statuses += [ask(server, "klines", symbol="BTCUSDT", interval="1m").status, ask(server, "klines").status]
        minute = NOW_MS // MINUTE_MS
        assert server.answers == {status: statuses.count(status) for status in (200, 400, 429)}
        assert server.used_by_minute == {minute: 6_000, minute + 1: 4}


def test_every_protocol_counts_for_itself(ask: Any) -> None:
    """A client that has spent one exchange's limit may ask the others, and switched off none refuses."""
    with ReplayServer(MARKET, clock=Clock()) as server:
        for _ in range(30):
            ask(server, "/0/public/Time")
        assert ask(server, "/0/public/Time").json["error"]
        assert ask(server, "/time").status == ask(server, "ping").status == 200
    with ReplayServer(MARKET, clock=Clock(), limits=False) as server:
        errors = [ask(server, "/0/public/Time").json["error"] for _ in range(30)]
        assert errors == [[]] * 30
        assert {ask(server, "/time").status for _ in range(30)} == {200}


def test_limits_can_be_switched_off(ask: Any) -> None:
    """The weight is still told, and never refused."""
    with ReplayServer(MARKET, limits=False, clock=Clock()) as server:
        answers = [ask(server, "exchangeInfo") for _ in range(302)]
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].headers["X-MBX-USED-WEIGHT-1M"] == "6040"


def test_the_clock_is_the_one_passed_in(ask: Any) -> None:
    """The exchange's time is asked for, not the machine's."""
    with ReplayServer(MARKET, clock=Clock(), latency_ms=50) as server:
        began = time.monotonic()
        assert ask(server, "time").json == {"serverTime": NOW_MS}
        assert time.monotonic() - began >= 0.05


def test_a_taken_port_is_named() -> None:
    """The message has the port and a way out, and no thread is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is taken"):
            ReplayServer(MARKET, port=port).__enter__()
    assert "replay-exchange" not in [thread.name for thread in threading.enumerate()]


def test_nothing_is_left_running() -> None:
    """After the context the port is free, the thread is gone, and a held answer has not held the end up."""
    server = ReplayServer(MARKET, latency_ms=3_600_000)
    with server:
        host, port = server.url.removeprefix("http://").split(":")
        waiting = socket.create_connection((host, int(port)))
        waiting.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: replay\r\n\r\n")
        while not server.requests:
            time.sleep(0.01)
    waiting.close()
    assert "replay-exchange" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)))
    with pytest.raises(ConfigError, match="not running"):
        _ = server.url


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_long_work_does_not_outlive_the_server() -> None:
    """A client that went away in the middle of an answer that takes long leaves no thread and no task."""
    with ReplayServer(MARKET, limits=False) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as waiting:
            waiting.sendall(b"GET /0/public/OHLC?pair=XBTUSDT&interval=240 HTTP/1.1\r\nHost: replay\r\n\r\n")
            while not server.requests:
                time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("replay", "asyncio"))]


def test_run_forever_ends_cleanly_on_a_signal() -> None:
    """The address is told once it answers, and SIGTERM ends the process with success."""
    code = (
        "from etl.replay import MadeUpMarket, ReplayServer\n"
        "ReplayServer(MadeUpMarket()).run_forever(lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    host, port = url.removeprefix("http://").split(":")
    socket.create_connection((host, int(port))).close()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
