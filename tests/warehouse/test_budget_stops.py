"""One budget for all: how it stops everyone, what keeps it from opening, and who gives up waiting."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine

from etl.errors import ConfigError, RateLimitError, StoreLostError, StoreUnavailableError
from etl.warehouse import Warehouse
from etl.warehouse.budget import LeasedBudget, SharedBudget, local_budget, shared
from etl.warehouse.budget.memory import MemoryBucket
from etl.warehouse.budget.terms import Terms
from tests.databases import admin_address
from tests.warehouse.virtual_time import run_virtually


def test_a_pause_stops_everyone_who_shares_the_bucket() -> None:
    """A pause holds here at once and elsewhere within a second; a shorter one changes nothing."""

    async def scenario() -> tuple[float, list[float]]:
        clock = asyncio.get_running_loop().time
        bucket = MemoryBucket(Terms.of(6000, 60.0, 1.0))
        moments: list[float] = []
        async with LeasedBudget(bucket) as first, LeasedBudget(bucket) as other:

            async def ask() -> None:
                while True:
                    await other.spend(2)
                    other.settle(2, None)
                    moments.append(clock())
                    await asyncio.sleep(0.05)

            asking = asyncio.create_task(ask())
            await first.spend(2)
            await asyncio.sleep(0.3)
            paused_at = clock()
            await first.pause(3.0)
            await first.pause(0.1)
            await first.spend(2)
            assert clock() >= paused_at + 3.0
            await asyncio.sleep(0.5)
            asking.cancel()
            await asyncio.wait([asking])
        return paused_at, moments

    paused_at, moments = run_virtually(scenario)
    assert moments[0] < paused_at
    assert not [moment - paused_at for moment in moments if paused_at + 1.0 < moment < paused_at + 3.0]
    assert moments[-1] > paused_at + 3.0


def test_a_pause_outlives_who_asked_for_it(warehouse: Warehouse) -> None:
    """A later client stays away as long as the pause lasts, and no longer than for ever."""

    def budget() -> SharedBudget:
        return SharedBudget(warehouse, "binance", weight_limit=6000, interval_s=60.0, share=1.0)

    async def scenario() -> float:
        async with budget() as first:
            begun = time.monotonic()
            await first.pause(3.0)
            await first.pause(0.1)
        async with budget() as late:
            await asyncio.wait_for(late.spend(2), 60)
        return time.monotonic() - begun

    assert asyncio.run(scenario()) >= 3.0


def test_who_is_sent_away_for_long_is_told_so(warehouse: Warehouse) -> None:
    """A ban of hours keeps no worker waiting: it is an error that says how long, for those who come later too."""

    async def scenario() -> list[float]:
        left: list[float] = []
        for seconds in (7_200.0, 0.0):
            async with SharedBudget(warehouse, "binance", weight_limit=6000, interval_s=60.0, share=1.0) as budget:
                await budget.pause(seconds)
                with pytest.raises(RateLimitError, match="away for another [12]:[0-9:]+; run it again then") as told:
                    await asyncio.wait_for(asyncio.gather(*(budget.spend(2) for _ in range(3))), 60.0)
                left.append(told.value.retry_after_s or 0.0)
        return left

    assert all(7_100 < left_s <= 7_200 for left_s in asyncio.run(scenario()))


def test_who_gives_up_waiting_takes_nothing_along() -> None:
    """A request that is cancelled while it waits leaves its weight to the next."""

    async def scenario() -> None:
        async with local_budget(weight_limit=20, interval_s=10.0, share=1.0) as budget:
            many = [asyncio.create_task(budget.spend(2)) for _ in range(10)]
            await many[0]
            for task in many[1:9]:
                task.cancel()
            await asyncio.wait_for(many[9], 4)  # all of them would take nine seconds

    run_virtually(scenario)


def test_a_cut_connection_is_no_error_and_a_lost_database_is_ours(
    warehouse: Warehouse, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that the server closed is replaced; without a server, everyone who waits is told so."""
    monkeypatch.setattr(shared, "_PATIENCE_S", 120)
    name = sql.Identifier(str(warehouse.engine.url.database))

    def cut(connection: psycopg.Connection) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (warehouse.engine.url.database,),
        )

    async def scenario() -> None:
        async with SharedBudget(warehouse, "binance", weight_limit=100, interval_s=1.0, share=1.0) as budget:
            with psycopg.connect(admin_address(warehouse_url)) as admin:
                admin.autocommit = True
                await budget.spend(1)
                cut(admin)
                await budget.spend(10)
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
                cut(admin)
                budget._bucket._pool.timeout = 0.5  # type: ignore[attr-defined]  # whoever waits longer gets no other answer
                outcomes = await asyncio.gather(budget.spend(60), budget.spend(60), return_exceptions=True)
                assert [type(outcome) for outcome in outcomes] == [StoreLostError] * 2
                with pytest.raises(StoreUnavailableError):
                    await budget.pause(1)
                admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
                budget._bucket._pool.timeout = 120  # type: ignore[attr-defined]
                await budget.spend(1)

    asyncio.run(scenario())


def test_a_warehouse_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget whose server cannot be reached does not open."""
    monkeypatch.setattr(shared, "_PATIENCE_S", 1)
    nowhere = Warehouse(create_engine("postgresql+psycopg://postgres@127.0.0.1:1/none", poolclass=NullPool))

    async def scenario() -> None:
        async with SharedBudget(nowhere, "binance", weight_limit=100, interval_s=1.0, share=1.0):
            pass

    with pytest.raises(StoreUnavailableError, match="does not answer"):
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("binance", {"weight_limit": 10, "interval_s": 1.0, "share": 0.05}),
        ("binance", {"weight_limit": 10, "interval_s": 1.0, "share": 1.5}),
        ('x" CASCADE', {"weight_limit": 10, "interval_s": 1.0, "share": 1.0}),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(warehouse: Warehouse, name: str, terms: dict[str, float]) -> None:
    """A share that leaves nothing, or a name that is none, is the settings' fault."""
    with pytest.raises(ConfigError):
        SharedBudget(warehouse, name, **terms)


def test_a_request_over_the_limit_does_not_wait_for_ever() -> None:
    """A request that costs more than is permitted at all is refused at once."""
    with pytest.raises(ConfigError, match="permit more"):
        asyncio.run(local_budget(weight_limit=10, interval_s=1.0, share=0.5).spend(6))
