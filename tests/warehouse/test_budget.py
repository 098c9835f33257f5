"""One budget for all: what it lets through, and how it makes up for what it does not know."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise

import pytest
from aiohttp import web
from sqlalchemy import text

from etl.warehouse import Warehouse
from etl.warehouse.budget import SharedBudget
from tests.warehouse.conftest import Make


def rows_of(warehouse: Warehouse) -> list[float]:
    """Return when each unit was spent, in seconds since the epoch."""
    query = text(
        "SELECT extract(epoch FROM item_timestamp AT TIME ZONE 'UTC')::float8 FROM ratelimit___binance ORDER BY 1"
    )
    with warehouse.begin() as connection:
        return list(connection.execute(query).scalars())


def most_within(moments: Sequence[float], seconds: float) -> int:
    """Return how many of the sorted moments the fullest stretch of `seconds` holds."""
    first, most = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


class ClockExchange:
    """An exchange that counts weights by clock windows, from a thread of its own."""

    def __init__(self, limit: int, interval_s: float, weight: int) -> None:
        self.used: Counter[int] = Counter()
        self._limit, self._interval_s, self._weight = limit, interval_s, weight
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runner = web.AppRunner(web.Application(), access_log=None)
        self._runner.app.router.add_get("/", self._answer)
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def _start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def _answer(self, request: web.Request) -> web.Response:
        window = int(time.time() // self._interval_s)
        self.used[window] += self._weight
        status = 200 if self.used[window] <= self._limit else 429
        return web.Response(status=status, headers={"X-MBX-USED-WEIGHT-1M": str(self.used[window])})

    def close(self) -> None:
        """Stop serving."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def test_four_processes_use_it_up_and_no_more(warehouse: Warehouse, warehouse_url: str) -> None:
    """What four processes spend never exceeds what is permitted, nearly reaches it, and meets no 429."""
    terms = {"weight_limit": 200, "interval_s": 2.0, "share": 0.9}
    with closing(ClockExchange(200, 2.0, weight=2)) as exchange:
        arguments = {"warehouse_url": warehouse_url, "exchange_url": exchange.url, "terms": terms}
        command = [sys.executable, "-m", "tests.warehouse.spender", json.dumps(arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        children = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        begin = time.time() // 2 * 2 + 2
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"[{begin}, {begin + 6}]\n")
            child.stdin.flush()
        statuses = [Counter(json.loads(child.communicate()[0])) for child in children]
    assert set().union(*statuses) == {"200"}
    assert most_within(rows_of(warehouse), 2.0) <= 180
    assert sum(exchange.used.values()) >= 0.95 * 3 * 180
    assert min(map(Counter.total, statuses)) >= 0.1 * sum(map(Counter.total, statuses)), "each has a part of it"


def test_one_process_uses_it_up_and_no_more(make: Make) -> None:
    """One process alone gets all there is, evenly enough, and no more."""

    async def spend_for(seconds: float) -> list[float]:
        moments: list[float] = []
        async with make(weight_limit=300, interval_s=1.5, share=1.0) as budget:

            async def ask() -> None:
                while True:
                    await budget.spend(2)
                    moments.append(time.monotonic())
                    budget.settle(2, None)

            asked = [asyncio.create_task(ask()) for _ in range(4)]
            await asyncio.sleep(seconds)
            spent, permitted = budget.use()
            assert permitted == 300
            assert 0.9 * 300 <= spent <= 300
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
        return moments

    moments = asyncio.run(spend_for(3.0))
    assert 2 * len(moments) >= 0.95 * 600
    assert 2 * most_within(moments, 1.5) <= 1.03 * 300  # what waits for its turn on a busy machine comes together
    assert max(later - earlier for earlier, later in pairwise(moments)) < 0.5


def test_what_others_spend_at_our_address_is_entered_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the exchange has counted and we do not know of takes room from all of us, however often it is told.

    The machine's clock may be wrong: the database's counts.
    """
    right = time.time
    monkeypatch.setattr("etl.warehouse.budget.leased.time.time", lambda: right() - 3600)

    async def scenario() -> int:
        terms = {"weight_limit": 1000, "interval_s": 20.0, "share": 1.0}
        async with (
            SharedBudget(warehouse, "binance", **terms) as one,
            SharedBudget(warehouse, "binance", **terms) as two,
        ):
            for told in (None, 990, 990):
                for budget in (one, two):
                    budget.settle(2, told)
                    await budget.spend(2)
                await asyncio.sleep(0.6)  # so that the next take a lease
            granted = 0
            with pytest.raises(TimeoutError):
                while True:
                    await asyncio.wait_for(two.spend(1), 0.7)
                    granted += 1
            return granted

    if right() % 20 > 14:  # it is one window of the exchange's that this is about
        time.sleep(20.5 - right() % 20)
    assert asyncio.run(scenario()) == 2
    assert len(rows_of(warehouse)) == 1000


def test_the_exchanges_own_count_has_the_last_word(make: Make) -> None:
    """Nothing is sent that would bring the exchange's count over its limit, until its window turns."""

    async def scenario() -> float:
        async with make(weight_limit=1000, interval_s=2.0, share=1.0) as budget:
            await asyncio.sleep(2.3 - time.time() % 2.0)
            await budget.spend(2)
            await budget.spend(2)
            budget.settle(2, 997)  # and another 2 are under way
            await budget.spend(1)
            begun = time.time()
            await budget.spend(1)
            assert int(time.time() // 2) == int(begun // 2) + 1
            return time.time() - begun

    assert asyncio.run(scenario()) > 1.0


def test_an_enormous_limit_costs_nothing(warehouse: Warehouse) -> None:
    """With a limit that nobody reaches, leave to spend costs microseconds, and rows are few."""

    async def scenario() -> list[float]:
        waits = []
        async with SharedBudget(warehouse, "binance", weight_limit=100_000_000, interval_s=60.0, share=0.9) as budget:
            for _ in range(300):
                begun = time.perf_counter()
                await budget.spend(2)
                waits.append(time.perf_counter() - begun)
                budget.settle(2, 1)
                await asyncio.sleep(0.003)
        return waits

    waits = sorted(asyncio.run(scenario()))
    assert waits[270] < 0.0003, "nine in ten touch no database"
    assert len(rows_of(warehouse)) < 20


def test_the_log_forgets_what_is_old_and_what_cannot_be(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows older than the interval go, and so do those of the future, which a clock that was set back has left."""

    async def spend_once() -> None:
        async with SharedBudget(warehouse, "binance", weight_limit=10, interval_s=1.0, share=1.0) as budget:
            await asyncio.wait_for(budget.spend(1), 5)

    asyncio.run(spend_once())
    query = text(
        "INSERT INTO ratelimit___binance (name, weight, item_timestamp)"
        " SELECT 'old', 1, (now() + :days * interval '1 day') AT TIME ZONE 'UTC' FROM generate_series(1, 50)"
    )
    with warehouse.begin() as connection:
        connection.execute(query, [{"days": -1}, {"days": 1}])
    monkeypatch.setenv("PGTZ", "America/New_York")  # a session's zone moves nothing
    asyncio.run(spend_once())
    rows = rows_of(warehouse)
    assert len(rows) <= 2
    assert max(rows) == pytest.approx(time.time(), abs=60)
