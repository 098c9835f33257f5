"""Progress that a fetch logs while it runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from etl.feeds_file import load_settings
from etl.fetching import Both
from etl.ingest import fetch
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START

PARTITION = Partition(BTC, TimeRange(START, from_ms(to_ms(START) + 5_000 * 60_000)))


def test_a_fetch_says_how_far_it_is(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every few seconds a line with pages, candles, rate, weight used of what may be, and the time that is left."""
    caplog.set_level(logging.INFO, logger="etl")
    monkeypatch.setattr("etl.fetching._EVERY_S", 0.05)
    with ReplayServer(MadeUpMarket(), latency_ms=100) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__PAGES_AT_ONCE", "1")
        fetch(Stores(load_settings(), stores.warehouse, stores.archive, stores.raw), PARTITION)
    said = re.findall(
        r"(\d+) pages?, ([\d,]+) of 5,000 candles \((\d+) %\), ([\d,]+) a second, weight (\d+) of 5400, (\S+) left",
        caplog.text,
    )
    assert len(said) >= 4
    pages, candles, percent, rate, weight, left = said[3]
    assert (pages, candles, percent) == ("4", "4,000", "80")
    assert 0 < int(rate.replace(",", "")) < 11_000
    assert 0 < int(weight) < 100
    assert left.startswith("0:0")


def test_a_ban_stops_everyone(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer that says to come back in two seconds: nobody who shares the warehouse asks anything until then."""
    asked: list[float] = []

    def clock() -> int:
        asked.append(time.monotonic())
        return time.time_ns() // 1_000_000

    faults = FaultPlan()
    faults.add("http_418", times=1, after=12)
    with ReplayServer(MadeUpMarket(), latency_ms=40, faults=faults, clock=clock) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__PAGES_AT_ONCE", "1")
        ready = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        span = TimeRange(START, from_ms(to_ms(START) + 30_000 * 60_000))
        with ThreadPoolExecutor(2) as threads:
            two = [Partition(Series("binance", symbol, BTC.timeframe), span) for symbol in ("BTC/USDT", "ETH/USDT")]
            reports = list(threads.map(lambda partition: fetch(ready, partition), two))
    assert [report.pages >= 30 for report in reports] == [True, True]
    assert faults.given["http_418"] == 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert max(pauses) > 1.0


class _Ledger:
    """A budget that permits everything and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float | None]] = []

    async def spend(self, weight: int) -> None:
        self.told.append(("spend", weight))

    def settle(self, weight: int, used_weight: int | None) -> None:
        self.told.append(("settle", used_weight))

    async def pause(self, seconds: float) -> None:
        self.told.append(("pause", seconds))

    def use(self) -> tuple[int, int]:
        return len(self.told), 100


def test_who_is_gentle_spends_from_two_budgets() -> None:
    """Each request is paid for twice; what the exchange counts, and its pauses, are for the one that all share."""
    own, shared = _Ledger(), _Ledger()
    both = Both(own, shared)

    async def act() -> None:
        await both.spend(2)
        both.settle(2, 700)
        await both.pause(9.0)

    asyncio.run(act())
    assert own.told == [("spend", 2), ("settle", None)]
    assert shared.told == [("spend", 2), ("settle", 700), ("pause", 9.0)]
    assert both.use() == (2, 100)
