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
from etl.warehouse.budget import SharedBudget, leased, local_budget
from etl.warehouse.budget.bucket import Bucket, Slot
from tests.warehouse.virtual_time import run_virtually

REQUESTS = 60
"""Of each process: together they take what is permitted in five seconds, and longer on a busy machine."""


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


def test_four_processes_spend_no_more_than_is_permitted(warehouse: Warehouse, warehouse_url: str) -> None:
    """The spending of four processes never exceeds what is permitted, and meets no 429; each gets what it asks for."""
    terms = {"weight_limit": 200, "interval_s": 2.0, "share": 0.9}
    with closing(ClockExchange(200, 2.0, weight=2)) as exchange:
        arguments = {"warehouse_url": warehouse_url, "exchange_url": exchange.url, "terms": terms}
        command = [sys.executable, "-m", "tests.warehouse.spender", json.dumps(arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        children = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin is not None
            child.stdin.write(f"{REQUESTS}\n")
            child.stdin.flush()
        statuses = [json.loads(child.communicate()[0]) for child in children]
    assert statuses == [{"200": REQUESTS}] * 4
    assert most_within(rows_of(warehouse), 2.0) <= 180
    assert sum(exchange.used.values()) == 2 * REQUESTS * 4


def test_one_process_uses_it_up_and_no_more() -> None:
    """One process alone gets all there is, evenly enough, and no more."""

    async def spend_for(seconds: float) -> list[float]:
        moments: list[float] = []
        clock = asyncio.get_running_loop().time
        async with local_budget(weight_limit=300, interval_s=1.5, share=1.0) as budget:

            async def ask() -> None:
                while True:
                    await budget.spend(2)
                    moments.append(clock())
                    budget.settle(2, None)
                    await asyncio.sleep(0)

            asked = [asyncio.create_task(ask()) for _ in range(4)]
            await asyncio.sleep(seconds)
            spent, permitted = budget.use()
            assert permitted == 300
            assert 0.9 * 300 <= spent <= 300
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
        return moments

    moments = run_virtually(lambda: spend_for(15.0))
    assert 2 * len(moments) >= 0.95 * 3_000
    assert 2 * most_within(moments, 1.5) <= 1.03 * 300
    assert max(later - earlier for earlier, later in pairwise(moments)) < 0.5


def test_what_others_spend_at_our_address_is_entered_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count of the exchange that we do not know of takes room from all of us, however often it is told.

    The machine's clock may be wrong: the database's counts.
    """
    right, interval_s = time.time, 600.0
    monkeypatch.setattr("etl.warehouse.budget.leased.time.time", lambda: right() - 3600)

    async def scenario() -> None:
        terms = {"weight_limit": 1000, "interval_s": interval_s, "share": 1.0}
        async with (
            SharedBudget(warehouse, "binance", **terms) as one,
            SharedBudget(warehouse, "binance", **terms) as two,
        ):
            for told in (None, 990, 990):
                for budget in (one, two):
                    budget.settle(2, told)
                    await budget.spend(2)
                await asyncio.sleep(0.6)  # so that the next take a lease
            for _ in range(2):
                await asyncio.wait_for(two.spend(1), 60)
            with pytest.raises(TimeoutError):
                # It would wait for the rest of the window: that nothing was spent is what the rows say.
                await asyncio.wait_for(two.spend(1), 2)

    if (left_s := interval_s - right() % interval_s) < 60:  # it is one window of the exchange's that this is about
        time.sleep(left_s + 0.5)
    asyncio.run(scenario())
    assert len(rows_of(warehouse)) == 1000


def test_the_exchanges_own_count_has_the_last_word() -> None:
    """Nothing is sent that would bring the exchange's count over its limit, until its window turns."""

    async def scenario() -> float:
        clock = asyncio.get_running_loop().time
        async with local_budget(weight_limit=1000, interval_s=2.0, share=1.0) as budget:
            await asyncio.sleep(2.3 - clock() % 2.0)
            await budget.spend(2)
            await budget.spend(2)
            budget.settle(2, 997)  # and another 2 are under way
            await budget.spend(1)
            begun = clock()
            await budget.spend(1)
            assert int(clock() // 2) == int(begun // 2) + 1
            return clock() - begun

    assert run_virtually(scenario) > 1.0


def test_an_enormous_limit_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit that nobody reaches, nearly no leave to spend asks the bucket, and rows are few."""
    leases: list[int] = []
    take = leased.take_slot

    def counted(bucket: Bucket, units: int, told: tuple[int, int] | None) -> Slot:
        leases.append(units)
        return take(bucket, units, told)

    monkeypatch.setattr(leased, "take_slot", counted)

    async def scenario() -> None:
        async with local_budget(weight_limit=100_000_000, interval_s=60.0, share=0.9) as budget:
            for _ in range(300):
                await budget.spend(2)
                budget.settle(2, 1)
                await asyncio.sleep(0.003)

    run_virtually(scenario)
    assert 0 < len(leases) < 20
    assert sum(leases) < 20


def test_the_log_forgets_what_is_old_and_what_cannot_be(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows older than the interval go, and so do those of the future, which a clock that was set back has left."""

    async def spend_once() -> None:
        async with SharedBudget(warehouse, "binance", weight_limit=10, interval_s=1.0, share=1.0) as budget:
            await asyncio.wait_for(budget.spend(1), 60)

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
