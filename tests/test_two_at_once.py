"""Two processes on one range at once: one loads it, the other finds it accounted for, and neither fails."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import event

from etl.audit import audit, is_sound
from etl.errors import MissingPagesError, StoreUnavailableError
from etl.feeds_file import load_settings
from etl.ingest import clean_pages, fetch, ingest, load
from etl.leftovers import fold_leftovers
from etl.pipeline import Wanted, ingest_all
from etl.progress import Bars, Outcome
from etl.repair import repair
from etl.replay import RecordedMarket, ReplayServer
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.warehouse import locked_partition, try_lock_partition, unlock_partition
from tests.conftest import BTC
from tests.laws.killed import ingest_and_die
from tests.markets import DAYS
from tests.patience import PATIENCE_S
from tests.snapshots import tables_of

PARTITION = Partition(BTC, DAYS)
LATER = TimeRange(DAYS.end, DAYS.end + timedelta(hours=1))
NOW = datetime(2024, 3, 3, tzinfo=UTC)


@pytest.fixture
def exchange(recording: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """The recording behind Binance's protocol, where the settings will find it."""
    with ReplayServer(RecordedMarket(recording)) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        yield server


@pytest.fixture
def stores(settings: Settings, exchange: ReplayServer) -> Iterator[Stores]:
    """The stores, opened with the exchange's address."""
    with open_stores(load_settings()) as opened:
        yield opened


class _PlansTogether(Bars):
    """Begins to work only once the other process has planned, too."""

    def __init__(self, both_have_planned: threading.Barrier) -> None:
        super().__init__([BTC], Console(quiet=True))
        self._both_have_planned = both_have_planned

    def planned(self, series: Series, partitions: Sequence[Partition]) -> None:
        """Wait for the other's plan."""
        super().planned(series, partitions)
        self._both_have_planned.wait()


def test_two_ingests_of_one_range_share_the_work_and_neither_fails(stores: Stores, exchange: ReplayServer) -> None:
    """Each partition is fetched and loaded once; to the other process it is accounted for, which is no failure."""
    both_have_planned = threading.Barrier(2, timeout=PATIENCE_S)

    def run(name: str) -> Outcome:
        with open_stores(load_settings()) as own, _PlansTogether(both_have_planned) as bars:
            ingest_all(own, Wanted([BTC], DAYS.start, DAYS.end, timedelta(0), name), bars)
        return bars.outcome

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(run, ("one", "other")))
    assert [outcome.failures for outcome in outcomes] == [[], []]
    loaded = sorted(partition.time_range for outcome in outcomes for partition, _ in outcome.loads)
    left_out = sorted(partition.time_range for outcome in outcomes for partition in outcome.left_out)
    assert loaded == left_out, "each was planned by both and loaded by one"
    assert loaded[0].start == DAYS.start
    assert loaded[-1].end == DAYS.end
    candles = len(tables_of(stores)["candles"])
    assert sum(report.new for outcome in outcomes for _, report in outcome.loads) == candles > 0
    assert is_sound(audit(stores))


def test_steps_whose_range_another_run_has_loaded_are_done(stores: Stores) -> None:
    """A mapped task finds its pages gone and the range accounted for: it ends well, and changes nothing."""
    fetch(stores, PARTITION)
    ingest(stores, PARTITION, "terminal")
    expected = tables_of(stores)
    assert clean_pages(stores, PARTITION, "scheduled").rows == 0
    report = load(stores, PARTITION, "scheduled")
    assert report.rows + report.absent == DAYS.count(BTC.timeframe)
    assert (report.rows, report.new, report.revised) == (len(expected["candles"]), 0, 0)
    assert tables_of(stores) == expected
    with pytest.raises(MissingPagesError, match="clear its fetch task"):
        clean_pages(stores, PARTITION, "terminal")  # its own load: who clears `clean` alone is told what to clear
    with pytest.raises(MissingPagesError, match="clear its fetch task"):
        clean_pages(stores, Partition(BTC, TimeRange(DAYS.start, LATER.end)), "scheduled")


def test_pages_that_a_killed_load_has_left_are_folded_by_the_next_run(stores: Stores) -> None:
    """A kill between commit and folding leaves a folder until the next run of the series, whatever its range."""
    assert ingest_and_die("after commit", PARTITION) == -signal.SIGKILL
    (left,) = stores.raw.partitions(BTC)
    with open_stores(load_settings()) as other, locked_partition(other.warehouse, BTC, DAYS):
        assert fold_leftovers(stores, BTC) == 0, "another process works on it"
    with Bars([BTC], Console(quiet=True)) as bars:
        ingest_all(stores, Wanted([BTC], DAYS.start, DAYS.end, timedelta(0), "next"), bars)
    assert not bars.outcome.loads
    assert stores.raw.partitions(BTC) == []
    assert sorted(path.name for path in left.folder.parent.iterdir()) == ["folded"]


def _hours(start: int, end: int) -> TimeRange:
    return TimeRange(DAYS.start + timedelta(hours=start), DAYS.start + timedelta(hours=end))


def test_pages_that_wider_or_several_loads_cover_are_folded_and_no_others(stores: Stores) -> None:
    """Pages of a killed run are leftovers once others have loaded all of it, in whatever ranges."""
    inside, across, beyond, held = _hours(2, 4), _hours(5, 9), _hours(9, 13), _hours(6, 8)
    assert ingest_and_die("after cleaning", Partition(BTC, inside)) == -signal.SIGKILL
    for span in (across, beyond, held):
        fetch(stores, Partition(BTC, span))
    ingest(stores, Partition(BTC, _hours(0, 7)), "wider")
    assert fold_leftovers(stores, BTC) == 1, "only the first is loaded wholly"
    ingest(stores, Partition(BTC, _hours(7, 12)), "next")
    with open_stores(load_settings()) as other, locked_partition(other.warehouse, BTC, held):
        assert fold_leftovers(stores, BTC) == 1
    assert [raw.time_range for raw in stores.raw.partitions(BTC)] == [held, beyond]
    repair(stores, BTC.exchange, NOW, "repair", within=_hours(0, 12))
    assert [raw.time_range for raw in stores.raw.partitions(BTC)] == [beyond]
    clean_pages(stores, Partition(BTC, beyond), "killed")
    assert load(stores, Partition(BTC, beyond), "killed").new > 0, "its pages were kept for its rerun"


def test_pages_that_were_fetched_after_the_load_are_no_leftovers(stores: Stores) -> None:
    """Pages of a cleared `fetch` wait for its `clean`, though the range was loaded before."""
    ingest(stores, PARTITION, "first")
    fetch(stores, PARTITION)
    assert fold_leftovers(stores, BTC) == 0
    clean_pages(stores, PARTITION, "first")
    assert load(stores, PARTITION, "first").new == 0


def test_a_lock_goes_with_its_connection_and_is_taken_again(
    stores: Stores, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that was restarted has no locks: who had one takes it again, or says that another process has it."""
    # It waits until the connections are gone.
    cut = (
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    )
    with open_stores(settings) as other:
        assert try_lock_partition(stores.warehouse, BTC, DAYS)
        assert not try_lock_partition(stores.warehouse, BTC, DAYS), "threads exclude each other"
        assert not try_lock_partition(other.warehouse, BTC, DAYS)
        with other.warehouse.begin() as connection:
            connection.exec_driver_sql(cut)
        with pytest.raises(StoreUnavailableError):
            try_lock_partition(stores.warehouse, BTC, LATER)
        assert try_lock_partition(stores.warehouse, BTC, LATER)
        assert not try_lock_partition(other.warehouse, BTC, DAYS), "it was taken again beside the other one"
        with other.warehouse.begin() as connection:
            connection.exec_driver_sql(cut)
        assert try_lock_partition(other.warehouse, BTC, DAYS)
        unlock_partition(stores.warehouse, BTC, LATER)
        assert try_lock_partition(stores.warehouse, BTC, LATER)
        assert "another process has it now" in caplog.text


def test_the_server_looks_after_those_who_have_locks(stores: Stores) -> None:
    """Before it gives a lock to a connection it is told to notice soon that nobody is at the other end any more."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    event.listen(stores.warehouse.engine, "before_cursor_execute", note)
    assert try_lock_partition(stores.warehouse, BTC, DAYS)
    keepalives, lock = (
        next(place for place, one in enumerate(sent) if name in one) for name in ("tcp_keepalives_idle", "try_advisory")
    )
    assert keepalives < lock
    unlock_partition(stores.warehouse, BTC, DAYS)
