"""Law 3, no claim before the fact: a checkpoint is committed in the same transaction as the rows it vouches for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from etl.errors import StoreUnavailableError
from etl.ingest import clean_pages, load
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe
from etl.warehouse import Load
from tests.conftest import BTC
from tests.markets import DAYS, START, kline, put_pages
from tests.snapshots import tables_of

PARTITION = Partition(BTC, TimeRange(START, Timeframe.H1.floor(DAYS.end)))
ROWS = [kline(at) for at in range(PARTITION.time_range.start_ms, PARTITION.time_range.end_ms, 60_000) if at % 7]


@pytest.fixture
def cleaned(stores: Stores) -> Stores:
    """Stores with the partition ready to be loaded."""
    put_pages(stores.raw, BTC, PARTITION.time_range, ROWS)
    clean_pages(stores, PARTITION)
    return stores


def _before_the_end(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Let `act` happen once everything is written, and nothing is committed."""
    write_checkpoint = Load._checkpoint

    def write_and_act(self: Load, *args: Any, **kwargs: Any) -> None:
        write_checkpoint(self, *args, **kwargs)
        act()

    monkeypatch.setattr(Load, "_checkpoint", write_and_act)


def test_nobody_sees_a_part_of_a_load(cleaned: Stores, warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection sees nothing of a load until it sees all of it."""
    seen = []
    with psycopg.connect(warehouse_url, autocommit=True) as other:

        def look() -> None:
            count = "SELECT (SELECT count(*) FROM candles), (SELECT count(*) FROM checkpoints)"
            seen.append(other.execute(count).fetchone())

        _before_the_end(monkeypatch, look)
        report = load(cleaned, PARTITION, "test")
        look()
    assert seen == [(0, 0), (report.rows, 1)]


def test_a_server_that_goes_away_leaves_no_claim(
    cleaned: Stores, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed if PostgreSQL ends the connection just before the commit, and a rerun ends well."""

    def end_every_load() -> None:
        with psycopg.connect(warehouse_url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with monkeypatch.context() as patch:
        _before_the_end(patch, end_every_load)
        with pytest.raises(StoreUnavailableError, match="run this again"):
            load(cleaned, PARTITION, "test")
    assert not any(tables_of(cleaned).values())
    assert load(cleaned, PARTITION, "again").rows == len(ROWS)
    assert len(tables_of(cleaned)["checkpoints"]) == 1
