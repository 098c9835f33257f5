"""Law 2, once: a step run twice, or killed anywhere and run again, leaves what one clean run leaves."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.audit import audit, is_sound
from etl.errors import MissingPagesError
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, fetch, ingest, load
from etl.replay import RecordedMarket, ReplayServer
from etl.series import TimeRange
from etl.stores import Partition, Stores, open_stores
from tests.conftest import BTC
from tests.databases import fresh_database
from tests.laws.killed import STEPS, ingest_and_die
from tests.markets import DAYS
from tests.snapshots import archive_of, tables_of

PARTITION = Partition(BTC, DAYS)


@pytest.fixture
def exchange(recording: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """The recording behind Binance's protocol, where the settings will find it."""
    with ReplayServer(RecordedMarket(recording)) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        yield server


@pytest.fixture(scope="module")
def clean_run() -> dict[str, object]:
    """Return the place where the first test of this module leaves what one clean run leaves."""
    return {}


@pytest.fixture
def expected(
    clean_run: dict[str, object], exchange: ReplayServer, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """Return what one clean run leaves: tables and archive."""
    if not clean_run:
        home = tmp_path_factory.mktemp("clean")
        with pytest.MonkeyPatch.context() as patch, fresh_database(postgres) as url:
            patch.setenv("CHANDLER_HOME", str(home))
            patch.setenv("CHANDLER_WAREHOUSE_URL", url)
            with open_stores(load_settings()) as stores:
                ingest(stores, PARTITION, "clean")
                clean_run.update(tables=tables_of(stores), archive=archive_of(stores))
    return clean_run


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_run_run_again_leaves_what_a_clean_run_leaves(
    step: str, expected: dict[str, object], stores: Stores, exchange: ReplayServer
) -> None:
    """A process killed with SIGKILL at any step, and run again, leaves the tables and files of one clean run."""
    assert ingest_and_die(step, PARTITION) == -signal.SIGKILL
    asked_by_child = len(exchange.windows)
    report = fetch(_reopened(stores), PARTITION)
    if step not in {"after a page", "after folding"}:
        assert len(exchange.windows) == asked_by_child, "pages that are on disk are not asked for again"
    assert report.pages - report.asked >= 2 or step == "after folding"
    ingest(_reopened(stores), PARTITION, "again")
    assert tables_of(stores) == expected["tables"]
    assert archive_of(stores) == expected["archive"]
    assert is_sound(audit(stores))


def test_each_step_may_run_twice(expected: dict[str, object], stores: Stores) -> None:
    """Each step run twice in a row, and the whole run once more, changes nothing."""
    stores = _reopened(stores)
    for _ in range(2):
        fetch(stores, PARTITION)
    for _ in range(2):
        clean_pages(stores, PARTITION)
    load(stores, PARTITION, "first")
    ingest(stores, PARTITION, "second")
    assert tables_of(stores) == expected["tables"]
    assert archive_of(stores) == expected["archive"]


@pytest.mark.parametrize("step", ["after commit", "after folding"])
def test_a_load_that_was_killed_after_its_commit_is_done(
    step: str, expected: dict[str, object], stores: Stores
) -> None:
    """The load step alone, run again by the same run as Airflow does, finds what it has committed."""
    assert ingest_and_die(step, PARTITION) == -signal.SIGKILL
    report = load(stores, PARTITION, "killed")
    assert report.rows + report.absent == DAYS.count(BTC.timeframe)
    assert tables_of(stores) == expected["tables"]
    later = Partition(BTC, TimeRange(DAYS.end, DAYS.end + BTC.timeframe.delta))
    with pytest.raises(MissingPagesError, match="clean this partition first"):
        load(stores, later, "killed")


def _reopened(stores: Stores) -> Stores:
    """Return the stores with the settings as they are by now, the exchange's address among them."""
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
