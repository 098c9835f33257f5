"""Two hundred thousand candles while more than one request in twenty goes wrong, in every way that there is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from etl.audit import audit, is_sound
from etl.feeds_file import load_settings
from etl.pipeline import Wanted, ingest_all
from etl.progress import Bars
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import known_series, read_candles

END = datetime(2026, 6, 2, 12, tzinfo=UTC)
SPAN = TimeRange(END - timedelta(minutes=50_000), END)
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")

# What goes wrong, and what of it the log names.
KINDS = {
    "http_429": "HTTP 429",
    "http_429_bare": "HTTP 429",
    "http_418": "HTTP 418",
    "http_500": "HTTP 500",
    "http_502": "HTTP 502",
    "http_503": "HTTP 503",
    "http_504": "HTTP 504",
    "maintenance": "no longer available",
    "timeout": "did not answer in time",
    "slow": "did not answer in time",
    "reset": "cannot be reached",
    "truncated": "is no JSON",
    "html": "<!DOCTYPE html>",
    "empty_200": "is no JSON",
    "duplicate_page": "more than once",
    "wrong_order": "out of order",
    "missing": "are missing",
}


@pytest.fixture
def faults() -> FaultPlan:
    """Every kind once, spread over the requests of the run."""
    plan = FaultPlan(hold_s=12.0, slow_s=12.0)
    for number, kind in enumerate(KINDS):
        plan.add(kind, times=1, after=5 + 11 * number)
    return plan


@pytest.fixture
def exchange(faults: FaultPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """A made-up market behind Binance's protocol, where the settings will find it; with little patience on our side."""
    market = MadeUpMarket(symbols=SYMBOLS)
    with ReplayServer(market, faults=faults, clock=lambda: to_ms(END) + 20_000) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setattr("etl.extract.ccxt_client._TIMEOUT_MS", 10_000)
        yield server


def test_faults_cost_time_and_no_candle(
    exchange: ReplayServer, stores: Stores, faults: FaultPlan, caplog: pytest.LogCaptureFixture
) -> None:
    """The warehouse holds the market afterwards, candle by candle; the log names each kind of fault."""
    caplog.set_level(logging.INFO, logger="etl")
    ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
    series = [Series("binance", symbol, Timeframe.M1) for symbol in SYMBOLS]
    with Bars(series, Console(quiet=True)) as bars:
        ingest_all(ready, Wanted(series, SPAN.start, SPAN.end, timedelta(0), "soak"), bars)
    assert not bars.outcome.failures
    asked = exchange.requests["/api/v3/klines"]
    assert set(faults.given) == set(KINDS)
    assert faults.given.total() / asked >= 0.05
    candles = 0
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
        for one in series:
            held = read_candles(connection, known[one], SPAN).to_pylist()
            rows = exchange.market.rows(one.symbol, Timeframe.M1, SPAN.start_ms, SPAN.end_ms, 50_000)
            names = ("open", "high", "low", "close", "volume", "quote_volume", "trades")
            assert [(to_ms(row["open_time"]), *(row[name] for name in names)) for row in held] == [
                (row.open_time_ms, *(float(getattr(row, name) or 0) for name in names)) for row in rows
            ]
            candles += SPAN.count(one.timeframe)
    assert candles == 200_000
    assert is_sound(audit(ready))
    for kind, words in KINDS.items():
        assert words in caplog.text, f"the log does not name {kind}"
