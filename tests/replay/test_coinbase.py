"""Coinbase's protocol over real HTTP, asked by ccxt itself and by a plain client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccxt
import pyarrow.parquet as pq
import pytest

from etl.replay import MadeUpMarket, RecordedMarket, ReplayServer
from etl.timeframe import Timeframe, from_ms
from tests.replay.real_ccxt import pointed

pytestmark = pytest.mark.enable_socket

MINUTE_MS = Timeframe.M1.ms
NOW_MS = 1_717_590_860_000  # 2024-06-05 12:34:20
FORMING_MS = NOW_MS // MINUTE_MS * MINUTE_MS
START_MS = 1_717_545_600_000  # midnight before
MARKET = MadeUpMarket(seed=7, symbols=("BTC/USD", "ETH/USD", "ADA/EUR"))
BTC = "/products/BTC-USD/candles"


def _iso(moment_ms: int) -> str:
    return from_ms(moment_ms).isoformat().replace("+00:00", "Z")


def _span(start_ms: int, end_ms: int, **params: object) -> dict[str, object]:
    return {"start": _iso(start_ms), "end": _iso(end_ms), "granularity": 60, **params}


def _expected(market: Any, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[list[float]]:
    rows = market.rows(symbol, timeframe, start_ms, end_ms, 1 << 20, NOW_MS)
    return [
        [row.open_time_ms // 1_000, *map(float, (row.low, row.high, row.open, row.close, row.volume))]
        for row in reversed(rows)
    ]


def test_ccxt_lists_and_reads_the_market() -> None:
    """Symbols by their unified names, steps, the time, and candles of every granularity."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS, limits=False) as server:
        exchange = pointed("coinbaseexchange", server)
        assert set(exchange.load_markets()) == set(MARKET.symbols)
        assert exchange.markets["BTC/USD"]["precision"] == {"price": 0.01, "amount": 1e-5}
        assert exchange.markets["BTC/USD"]["active"]
        assert exchange.fetch_time() == NOW_MS
        for name in exchange.timeframes:
            timeframe = Timeframe(name)
            start_ms = NOW_MS // timeframe.ms * timeframe.ms - 50 * timeframe.ms
            rows = exchange.fetch_ohlcv("BTC/USD", name, since=start_ms, limit=60)
            assert [row[0] for row in rows] == [
                row.open_time_ms for row in MARKET.rows("BTC/USD", timeframe, start_ms, NOW_MS, 60, NOW_MS)
            ]


def test_candles_are_printed_as_coinbase_does(ask: Any) -> None:
    """Newest first, low and high before open, bare numbers, both ends inclusive, the forming one too."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS) as server:
        three = ask(server, BTC, **_span(START_MS, START_MS + 2 * MINUTE_MS)).json
        assert three == _expected(MARKET, "BTC/USD", Timeframe.M1, START_MS, START_MS + 3 * MINUTE_MS)
        assert [row[0] * 1_000 - START_MS for row in three] == [2 * MINUTE_MS, MINUTE_MS, 0]
        within = ask(server, BTC, **_span(START_MS + 1_000, START_MS + MINUTE_MS)).json
        assert [row[0] * 1_000 for row in within] == [START_MS + MINUTE_MS, START_MS]  # one before the start
        newest = ask(server, BTC, **_span(FORMING_MS - MINUTE_MS, NOW_MS + 60 * MINUTE_MS)).json
        assert [row[0] * 1_000 for row in newest] == [FORMING_MS, FORMING_MS - MINUTE_MS]
        for partial in ({}, {"start": _iso(START_MS)}, {"end": _iso(START_MS)}):
            latest = ask(server, BTC, granularity=60, **partial).json
            assert len(latest) == 300
            assert latest[0][0] * 1_000 == FORMING_MS
        assert [window.route for window in server.windows] == ["candles"] * 6
        assert (server.windows[0].start_ms, server.windows[0].end_ms) == (START_MS, START_MS + 2 * MINUTE_MS)
        assert server.answers == {200: 6}


def test_a_range_too_wide_is_refused(ask: Any) -> None:
    """300 steps between start and end, so 301 candles, are the most; beyond it a refusal, nothing cut short."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS) as server:
        assert len(ask(server, BTC, **_span(START_MS, START_MS + 300 * MINUTE_MS)).json) == 301
        refused = ask(server, BTC, **_span(START_MS, START_MS + 300 * MINUTE_MS + 1_000))
    assert refused.status == 400
    assert refused.json == {
        "message": "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
    }


@pytest.mark.parametrize(
    ("path", "params", "status", "message"),
    [
        ("/products/NOPE-USD/candles", {"granularity": 60}, 404, "NotFound"),
        ("/products/NOPE-USD", {}, 404, "NotFound"),
        (BTC, {"granularity": 120}, 400, "Unsupported granularity"),
        (BTC, {"start": "yesterday", "end": "2024-06-05T12:00:00Z"}, 400, "Invalid start"),
        (BTC, {"start": "2024-06-05T12:00:00Z", "end": "2024-06-05T11:00:00Z"}, 400, "start must be before end"),
    ],
)
def test_bad_requests_are_refused_in_coinbases_words(
    ask: Any, path: str, params: dict[str, object], status: int, message: str
) -> None:
    """A status, and a message alone."""
    with ReplayServer(MARKET) as server:
        answer = ask(server, path, **params)
        assert server.answers == {status: 1}
    assert (answer.status, answer.json) == (status, {"message": message})


def test_a_silent_minute_prints_nothing(ask: Any) -> None:
    """A hole stays a hole."""
    rows = MARKET.rows("BTC/USD", Timeframe.M1, START_MS - 30 * 86_400_000, START_MS, 1 << 20)
    times = [row.open_time_ms for row in rows]
    gap_ms = next(a for a, b in zip(times, times[1:], strict=False) if b - a > MINUTE_MS)
    with ReplayServer(MARKET, clock=lambda: NOW_MS) as server:
        served = ask(server, BTC, **_span(gap_ms, gap_ms + 250 * MINUTE_MS)).json
    assert [row[0] * 1_000 for row in reversed(served)] == [t for t in times if gap_ms <= t <= gap_ms + 250 * MINUTE_MS]
    assert len(served) < 251


def test_fifteen_at_once_and_ten_a_second(ask: Any) -> None:
    """The sixteenth is refused without a word of when to come back, and ccxt knows the refusal."""
    with ReplayServer(MARKET, clock=lambda: NOW_MS) as server:
        answers = [ask(server, "/time") for _ in range(40)]
        assert {answer.status for answer in answers[:15]} == {200}
        refused = next(answer for answer in answers if answer.status != 200)
        assert (refused.status, refused.json) == (429, {"message": "Public rate limit exceeded"})
        assert "Retry-After" not in refused.headers
        with pytest.raises(ccxt.RateLimitExceeded):
            for _ in range(20):
                pointed("coinbaseexchange", server).publicGetTime()


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/USD", "LTC/USD"])
def test_recordings_are_served_value_for_value(real_data: Path, ask: Any, symbol: str) -> None:
    """A walk in pages gives every recorded candle, float for float, and no more."""
    table = pq.read_table(real_data / "coinbase" / symbol.replace("/", "-") / "1m.parquet").to_pandas()
    table = table.sort_values("open_time", kind="stable")
    start_ms, end_ms = (int(table["open_time"].iloc[number].timestamp() * 1_000) for number in (0, -1))
    served: list[list[float]] = []
    with ReplayServer(RecordedMarket(real_data, "coinbase"), limits=False) as server:
        for at_ms in range(start_ms, end_ms + 1, 300 * MINUTE_MS):
            path = f"/products/{symbol.replace('/', '-')}/candles"
            served += reversed(ask(server, path, **_span(at_ms, at_ms + 299 * MINUTE_MS)).json)
    assert len(served) > 2_400
    for number, name in ((1, "low"), (2, "high"), (3, "open"), (4, "close"), (5, "volume")):
        assert [row[number] for row in served] == table[name].tolist()
    assert [row[0] for row in served] == [int(moment.timestamp()) for moment in table["open_time"]]
