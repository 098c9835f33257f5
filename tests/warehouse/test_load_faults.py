"""Loads on a server that dies or falls silent, and loads that meet: nothing twice, nothing lost, nothing guessed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from etl.audit import audit, is_sound
from etl.errors import StoreUnavailableError
from etl.extract import RawStore
from etl.ingest import clean_pages, load
from etl.series import TimeRange
from etl.settings import Settings
from etl.stores import Partition, Stores, open_stores
from etl.warehouse import Load, copying
from etl.warehouse.embedded import embedded_postgres
from tests.conftest import BTC
from tests.cut_line import Cut, line_to
from tests.databases import folder_for_postgres
from tests.living import kill_all
from tests.markets import START, kline, put_pages
from tests.snapshots import tables_of

SPAN = TimeRange(START, START + timedelta(days=8))


def _prepare(stores: Stores, span: TimeRange, price: float = 100.0) -> Partition:
    """Bring pages of `span` to disk and clean them."""
    rows = [kline(at, price) for at in range(span.start_ms, span.end_ms, 60_000)]
    put_pages(stores.raw, BTC, span, rows)
    clean_pages(stores, Partition(BTC, span))
    return Partition(BTC, span)


def _in_the_middle_of_copy(kill: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    encode = copying.encode

    def and_kill(*args: Any) -> Iterator[bytes]:
        blocks = list(encode(*args))
        assert len(blocks) > 1
        yield blocks[0]
        kill()
        yield from blocks[1:]

    patch.setattr(copying, "encode", and_kill)


def _before_the_commit(kill: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    def and_kill(self: Load, *_: object) -> None:
        kill()
        self.connection.exec_driver_sql("SELECT pg_sleep(5)")

    patch.setattr(Load, "_quarantine", and_kill)


@pytest.mark.parametrize("when", [_in_the_middle_of_copy, _before_the_commit])
def test_a_server_that_is_killed_in_the_middle_of_a_load(
    when: Callable[[Callable[[], None], pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL killed with -9: a clear error, nothing of the load is there, and a rerun after a restart ends well."""
    with folder_for_postgres() as folder:
        data = folder / "postgres"
        settings = Settings(home=folder)

        def kill() -> None:
            server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
            # One that serves a connection may commit before it finds out that its parent is gone.
            kill_all([server, *server.children()])

        with embedded_postgres(data, "warehouse"), monkeypatch.context() as patch, open_stores(settings) as stores:
            partition = _prepare(stores, SPAN)
            when(kill, patch)
            with pytest.raises(StoreUnavailableError, match="was lost, and it was started again; run this again"):
                load(stores, partition, "killed")
        with open_stores(settings) as stores:
            assert not any(rows for name, rows in tables_of(stores).items())
            report = load(stores, partition, "again")
            assert report.new == report.rows == SPAN.count(BTC.timeframe)
            assert is_sound(audit(stores))


@pytest.mark.parametrize("cut", Cut)
def test_a_connection_lost_at_the_commit_is_found_out(cut: Cut, settings: Settings) -> None:
    """The server is asked about a commit: what is there is reported, what is not is an error."""
    span = TimeRange(START, START + timedelta(hours=3))
    with (
        line_to(str(settings.warehouse_url)) as (url, line),
        open_stores(settings.model_copy(update={"warehouse_url": url})) as stores,
    ):
        partition = _prepare(stores, span)
        line.cut = cut
        if cut is Cut.BEFORE:
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                load(stores, partition, "run")
            assert not any(tables_of(stores).values())
        assert load(stores, partition, "run").new == 180
        assert line.cut is None, "the line was cut"
        assert len(tables_of(stores)["candles"]) == 180
        with stores.warehouse.begin() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM loads").scalar_one() == 1
        assert is_sound(audit(stores))


def _at_once(settings: Settings, jobs: list[Callable[[Stores], object]]) -> None:
    """Do all the jobs at one moment, each with connections of its own."""
    together = threading.Barrier(len(jobs))

    def run(job: Callable[[Stores], object]) -> None:
        with open_stores(settings) as stores:
            together.wait()
            job(stores)

    with ThreadPoolExecutor(len(jobs)) as threads:
        for done in [threads.submit(run, job) for job in jobs]:
            done.result()


def _load_from(raw: RawStore, partition: Partition, opened: Stores) -> None:
    load(replace(opened, raw=raw), partition, "at once")


def test_two_loads_of_a_partition_at_once(settings: Settings, stores: Stores) -> None:
    """The second finds what the first has stored: each candle is new once, and the last one's values stand."""
    span = TimeRange(START, START + timedelta(hours=12))
    jobs = []
    for number in range(2):
        own = replace(stores, raw=RawStore(settings.home / f"raw{number}"))
        partition = _prepare(own, span, 100.0 + number)
        jobs.append(partial(_load_from, own.raw, partition))
    _at_once(settings, jobs)
    tables = tables_of(stores)
    assert len(tables["candles"]) == len(tables["revisions"]) == 720
    assert is_sound(audit(stores))


def test_ten_neighbours_at_once(settings: Settings, stores: Stores) -> None:
    """Partitions that overlap by an hour and share an archive file: no deadlock, and all is there once."""
    starts = [START + number * timedelta(hours=6) for number in range(10)]
    partitions = [_prepare(stores, TimeRange(start, start + timedelta(hours=7))) for start in starts]
    _at_once(settings, [lambda opened, one=one: load(opened, one, str(one)) for one in partitions])
    whole = TimeRange(starts[0], starts[-1] + timedelta(hours=7))
    tables = tables_of(stores)
    assert len(tables["candles"]) == whole.count(BTC.timeframe)
    assert not tables["revisions"]
    assert not tables["absences"]
    assert stores.archive.read(BTC, whole).num_rows == whole.count(BTC.timeframe)
    assert is_sound(audit(stores))
