"""Request outcomes of exchanges: counted while they are asked, and read for people."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import tenacity
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from etl.answers import BOUNDS_S, Answers, Outcome
from etl.errors import SourceError
from etl.feeds_file import load_settings
from etl.fetching import open_exchange
from etl.ingest import fetch
from etl.maintenance import run_step
from etl.replay import FaultPlan, MadeUpMarket, ReplayServer
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from etl.traffic import Counting, read_traffic
from etl.warehouse import Warehouse, add_requests, read_requests, total_requests
from etl.warehouse.tables import pauses, requests
from tests.conftest import BTC
from tests.markets import START

HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 21, 14, 37, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())


@pytest.fixture
def faults() -> FaultPlan:
    """Return the faults, to be added to."""
    return FaultPlan()


@pytest.fixture
def server(faults: FaultPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """A made-up Binance, where the settings will find it."""
    with ReplayServer(MadeUpMarket(), faults=faults) as running:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", running.url)
        yield running


def of(stores: Stores) -> Stores:
    """Return the stores with the settings as they are by now."""
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)


def minutes(count: int) -> Partition:
    """Return a partition of so many candles."""
    return Partition(BTC, TimeRange(START, from_ms(to_ms(START) + count * 60_000)))


def counted(warehouse: Warehouse) -> dict[Outcome, int]:
    """Return what was counted of Binance."""
    with warehouse.begin() as connection:
        return {outcome: answers.requests for (_, outcome), answers in total_requests(connection).items()}


def took(*seconds: float) -> Answers:
    """Return requests that took so long."""
    answers = Answers()
    for each in seconds:
        answers.take(each)
    return answers


def test_every_request_is_counted_by_what_came_of_it(stores: Stores, server: ReplayServer, faults: FaultPlan) -> None:
    """As many as the exchange has seen: what it refused, where it failed, what could not be read, and the rest."""
    for place, fault in enumerate(("http_429", "http_503", "truncated", "html")):
        faults.add(fault, times=1, after=place)
    fetch(of(stores), minutes(6_000))
    seen = counted(stores.warehouse)
    assert sum(seen.values()) == sum(server.requests.values())
    assert seen == {
        Outcome.OK: server.answers[200] - 2,
        Outcome.RATE_LIMIT: 1,
        Outcome.UNAVAILABLE: 1,
        Outcome.MALFORMED: 2,
    }


def test_a_fetch_that_fails_is_counted_too(stores: Stores, server: ReplayServer, faults: FaultPlan) -> None:
    """The outcomes of an exchange until somebody gave it up are what people want to see."""
    faults.add("html", times=None)
    with pytest.raises(SourceError):
        fetch(of(stores), minutes(1_000))
    seen = counted(stores.warehouse)
    assert seen[Outcome.MALFORMED] == 5
    assert sum(seen.values()) == sum(server.requests.values())


def test_files_of_whole_months_are_requests_too(
    stores: Stores, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file and each checksum counts once; one that is not there is an answer."""
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BULK_URL", f"{server.url}/data")
    days = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 4, tzinfo=UTC))
    fetch(of(stores), Partition(BTC, days))
    assert counted(stores.warehouse) == {Outcome.OK: sum(server.requests.values())}
    assert sum(count for route, count in server.requests.items() if "data" in route) == 6


def test_without_a_warehouse_nothing_is_written(stores: Stores, server: ReplayServer) -> None:
    """A client within a budget of its own leaves no trace."""

    async def ask() -> None:
        async with open_exchange("binance", load_settings(), None) as exchange:
            await exchange.source.clock_ms()

    asyncio.run(ask())
    assert sum(server.requests.values()) == 1
    assert counted(stores.warehouse) == {}


def test_what_cannot_be_written_keeps_no_fetch(
    stores: Stores, server: ReplayServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that is gone, or that somebody holds, costs a line in the log."""
    with stores.warehouse.begin() as connection:
        connection.execute(text("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE"))
        # The table is locked as long as the fetch goes on: it would never end if it waited.
        assert fetch(of(stores), minutes(2_000)).pages == 2
        connection.execute(text("DROP TABLE requests"))
    assert "not counted: " in caplog.text
    assert fetch(of(stores), minutes(3_000)).rows == 3_000


def test_what_was_not_written_is_written_later(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    """Counts wait for a warehouse that is away for a moment, and those that come meanwhile are added."""
    caplog.set_level(logging.INFO, logger="etl")

    async def count() -> None:
        async with Counting(stores.warehouse, "binance", lambda: NOW) as counting:
            counting.count(Outcome.OK, 0.2)
            with stores.warehouse.begin() as connection:
                connection.execute(text("ALTER TABLE requests RENAME TO elsewhere"))
            await counting._write()
            with stores.warehouse.begin() as connection:
                connection.execute(text("ALTER TABLE elsewhere RENAME TO requests"))
            counting.count(Outcome.OK, 0.4)

    asyncio.run(count())
    assert "cannot be written down just now" in caplog.text
    with stores.warehouse.begin() as connection:
        (row,) = read_requests(connection)
    assert (row.hour, row.answers) == (NOW.replace(minute=0), took(0.2, 0.4))


def test_what_is_counted_while_others_are_written_is_written_at_the_end(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However near the end: a write that is under way has not seen it, and fails besides."""
    is_writing, may_write, add = threading.Event(), threading.Event(), Counting._add

    def fail_once(counting: Counting, counts: Mapping[tuple[datetime, Outcome], Answers]) -> bool:
        if may_write.is_set():
            return add(counting, counts)
        is_writing.set()
        may_write.wait()
        return False

    monkeypatch.setattr("etl.traffic._EVERY_S", 0.01)
    monkeypatch.setattr(Counting, "_add", fail_once)

    async def count() -> None:
        async with Counting(stores.warehouse, "binance", lambda: NOW) as counting:
            counting.count(Outcome.OK, 0.2)
            await asyncio.to_thread(is_writing.wait)
            counting.count(Outcome.OK, 0.4)
            asyncio.get_running_loop().call_later(0.1, may_write.set)

    asyncio.run(count())
    with stores.warehouse.begin() as connection:
        (row,) = read_requests(connection)
    assert row.answers == took(0.4, 0.2)


def test_many_processes_add_up(stores: Stores) -> None:
    """Whoever adds to the same hour at the same time: nothing is lost, and nobody waits for ever."""
    hours = [NOW.replace(minute=0) - n * HOUR for n in range(4)]

    def add(number: int) -> None:
        order = hours if number % 2 else hours[::-1]
        for _ in range(10):
            with stores.warehouse.begin() as connection:
                add_requests(connection, "kraken", {(hour, Outcome.OK): took(0.3, 3.0) for hour in order})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    with stores.warehouse.begin() as connection:
        rows = read_requests(connection)
    assert [row.answers.requests for row in rows] == [80] * 4
    assert [row.answers.within for row in rows] == [[0, 0, 0, 40, 40, 40, 80, 80, 80]] * 4


def test_a_person_reads_the_last_day(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hour: how many, what came of them, how long; and of the budget what is spent, and until when all stay away."""
    monkeypatch.setenv("CHANDLER_EXCHANGES__KRAKEN__SHARE", "0.5")
    hour = NOW.replace(minute=0)
    quick = took(*[0.08] * 90, *[0.2] * 8)
    with stores.warehouse.begin() as connection:
        add_requests(connection, "binance", {(hour, Outcome.OK): quick, (hour, Outcome.UNAVAILABLE): took(15.0, 15.2)})
        add_requests(
            connection, "binance", {(hour - 23 * HOUR, Outcome.OK): quick, (hour - 24 * HOUR, Outcome.OK): quick}
        )
        add_requests(connection, "gone", {(hour, Outcome.OTHER): took(1.0)})
        connection.execute(insert(pauses).values(exchange="binance", until=NOW + HOUR))
        connection.execute(insert(pauses).values(exchange="kraken", until=NOW - HOUR))
        traffic = {one.exchange: one for one in read_traffic(connection, load_settings(), NOW)}
    binance = traffic["binance"]
    assert (binance.limit, binance.interval_s, binance.share) == (6000, 60.0, 0.9)
    assert (binance.spent, binance.paused_until) == (0, NOW + HOUR)
    assert [one.hour for one in binance.hours] == [hour - 23 * HOUR, hour]
    last = binance.hours[-1]
    assert (last.requests, last.failed, last.outcomes) == (100, 2, {"ok": 98, "unavailable": 2})
    assert last.mean_s == pytest.approx((90 * 0.08 + 8 * 0.2 + 30.2) / 100)
    assert last.p95_s is not None
    assert 0.1 < last.p95_s < 0.25, "the 95th is among those of 0.2 s"
    assert last.slowest_s == 15.2
    assert (traffic["kraken"].share, traffic["kraken"].paused_until, traffic["kraken"].hours) == (0.5, None, [])
    assert (traffic["gone"].limit, traffic["gone"].hours[0].failed) == (None, 1)


def test_old_hours_go_with_the_maintenance(stores: Stores) -> None:
    """After 90 days an hour is no row of its own any more."""
    with stores.warehouse.begin() as connection:
        for days in (89, 91, 200):
            add_requests(connection, "kraken", {(NOW - timedelta(days=days), Outcome.OK): took(1.0)})
    run_step(stores, "tend_warehouse", NOW)
    with stores.warehouse.begin() as connection:
        rows = [(row.hour, row.answers.requests) for row in read_requests(connection)]
        assert rows == [(None, 2), (NOW - timedelta(days=89), 1)]
        assert connection.execute(select(requests.c.slowest_s)).scalars().all() == [1.0, 1.0]


@given(st.lists(st.floats(0, 60), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 1.0]))
@example([0.0] * 3 + [1.0] * 3, 0.5)
def test_a_quantile_lies_between_the_bounds_around_it(seconds: list[float], share: float) -> None:
    """A quantile of the counts is never out by more than the bounds are apart, and never above the slowest."""
    answers = took(*seconds)
    exact = sorted(seconds)[max(0, -(-int(share * 100) * len(seconds) // 100) - 1)]
    edges = [0.0, *BOUNDS_S, 60.0]
    place = next(n for n, edge in enumerate(edges[1:]) if exact <= edge)
    found = answers.quantile_s(share)
    assert found is not None
    assert edges[place] <= found + 1e-9
    assert found <= min(max(seconds), edges[place + 1] if place < len(BOUNDS_S) else 60.0)
    assert Counter(answers.within)[answers.requests] >= sum(max(seconds) <= bound for bound in BOUNDS_S)
