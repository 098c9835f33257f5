"""Long ranges: from Binance's archives where they can be trusted, and killed on the way without a loss."""

from __future__ import annotations

import asyncio
import csv
import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from etl.audit import audit, is_sound
from etl.extract.sampling import sample
from etl.feeds_file import load_settings
from etl.fetching import open_exchange
from etl.ingest import ingest
from etl.replay import FaultPlan, MadeUpMarket, RecordedMarket, ReplayServer
from etl.schema import CANDLE_SCHEMA, Flag, Origin, to_columns
from etl.series import Series, TimeRange
from etl.spelling import counted
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import known_series, read_candles, read_status, read_unplanned
from etl.warehouse.tables import quarantine
from tests.snapshots import archive_of, tables_of

NEAR = Series.parse("binance:NEAR/USDT:1m")
MONTH = TimeRange(datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC))
CHANDLER = str(Path(sys.executable).with_name("chandler"))


@pytest.fixture(scope="session")
def near(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording made of a real month of the archives, with all the columns that those have."""
    with gzip.open(real_data.parent / "raw" / "binance_vision_csv" / "NEARUSDT-1m-2025-09.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    folder = tmp_path_factory.mktemp("near")
    places = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 7}
    places |= {"taker_buy_volume": 9, "taker_buy_quote_volume": 10}
    columns = {name: pa.array([float(row[place]) for row in rows]) for name, place in places.items()}
    times = pa.array([int(row[0]) for row in rows], pa.int64()).cast(CANDLE_SCHEMA.field("open_time").type)
    trades = pa.array([int(row[8]) for row in rows])
    path = folder / "binance" / "NEAR-USDT" / "1m.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"open_time": times, **columns, "trades": trades}), path)
    return folder


@pytest.fixture
def faults() -> FaultPlan:
    """Return the faults; none yet."""
    return FaultPlan()


@pytest.fixture
def exchange(near: Path, faults: FaultPlan, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    """The month behind Binance's protocol and in its archives, where the settings will find both."""
    with ReplayServer(RecordedMarket(near), faults=faults) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BULK_URL", f"{server.url}/data")
        yield server


def ready(stores: Stores) -> Stores:
    """Return the stores with the settings as they are by now."""
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)


def held(stores: Stores) -> pa.Table:
    """Return the month's candles in the warehouse."""
    with stores.warehouse.begin() as connection:
        return read_candles(connection, known_series(connection)[NEAR], MONTH)


def test_the_archive_of_a_real_month_equals_the_api(
    exchange: ReplayServer, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month comes as one file, held against twenty pages; the API, asked for the rest, changes nothing."""
    report = ingest(ready(stores), Partition(NEAR, MONTH), "by file")
    assert (report.rows, report.absent) == (MONTH.count(NEAR.timeframe), 0)
    assert len(exchange.windows) == 20
    columns = to_columns(held(stores))
    compared = sum(window.count(NEAR.timeframe) for window in sample(NEAR, MONTH, 1000 * NEAR.timeframe.ms))
    assert (columns["source"] == Origin.BULK).sum() == MONTH.count(NEAR.timeframe) - compared
    assert not (columns["flags"] & Flag.BULK_DIFFERED).any()
    exchange.windows.clear()
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BULK", "false")
    again = ingest(ready(stores), Partition(NEAR, MONTH), "by API")
    assert len(exchange.windows) == 44
    assert (again.new, again.revised) == (0, 0), "equal in every value"
    assert is_sound(audit(ready(stores)))


def test_where_file_and_api_differ_the_api_is_right_and_somebody_is_told(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each candle that differs is flagged, with the file's row in quarantine; one notice, and a sound audit."""
    market, series = MadeUpMarket(), Series.parse("binance:BTC/USDT:1m")
    days = TimeRange(datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC))
    faults = FaultPlan.parse(["file_differs:*"])
    with ReplayServer(market, limits=False, faults=faults) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BULK_URL", f"{server.url}/data")
        report = ingest(ready(stores), Partition(series, days), "by file")
        assert len(server.windows) == 4, "the rest of both files was asked for besides the samples"
        ingest(ready(stores), Partition(series, days), "once more")
    rows = market.rows(series.symbol, series.timeframe, days.start_ms, days.end_ms, 1 << 20)
    by_day = (rows[:1440], rows[1440:])
    differ = {row.open_time_ms for day in by_day for row in day[::50] if row.close != row.low}
    with stores.warehouse.begin() as connection:
        columns = to_columns(read_candles(connection, known_series(connection)[series], days))
        refused = connection.execute(select(quarantine.c.rule, quarantine.c.open_time)).all()
        (alert,) = read_unplanned(connection)
        assert read_status(connection)[0].flagged["bulk_differed"] == len(differ)
    assert columns["close"].tolist() == [float(row.close or "nan") for row in rows]
    assert report.revised == 0
    is_flagged = (columns["flags"] & Flag.BULK_DIFFERED) != 0
    assert set(columns["open_time"][is_flagged].tolist()) == differ
    assert len(differ) > 50
    assert {(rule, to_ms(at)) for rule, at in refused} == {("superseded", at) for at in differ}
    assert (alert.kind, alert.severity, alert.symbol) == ("bulk_differs", "low", "BTC/USDT")
    assert alert.notice is not None
    assert f"the exchange's archives differ from its API in {counted(len(differ), 'candle')}" in alert.notice.title
    assert is_sound(audit(ready(stores)))


def test_what_a_file_lacks_the_api_has(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is cut short, and agrees with its checksum, is no difference: the rest is asked for."""
    series = Series.parse("binance:BTC/USDT:1m")
    days = TimeRange(datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC))
    with ReplayServer(MadeUpMarket(), limits=False, faults=FaultPlan.parse(["file_cut:*"])) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BULK_URL", f"{server.url}/data")
        report = ingest(ready(stores), Partition(series, days), "test")
    assert (report.rows, report.absent, report.quarantined) == (2880, 0, 0)
    with stores.warehouse.begin() as connection:
        assert read_unplanned(connection) == []


@pytest.mark.parametrize("fault", ["wrong_checksum", "http_500", "truncated"])
def test_an_archive_that_cannot_be_trusted_is_passed_over(
    fault: str, exchange: ReplayServer, stores: Stores, faults: FaultPlan, caplog: pytest.LogCaptureFixture
) -> None:
    """The API is asked instead, the log says why, and the candles are those of the market."""
    faults.add(fault, times=None, route="bulk")
    report = ingest(ready(stores), Partition(NEAR, MONTH), "test")
    assert faults.given[fault] > 0
    assert len(exchange.windows) == 44
    assert "the bulk file is passed over" in caplog.text
    assert set(to_columns(held(stores))["source"]) == {Origin.API}
    assert (report.rows, report.absent) == (MONTH.count(NEAR.timeframe), 0)


def test_what_one_page_holds_is_not_taken_from_a_file(exchange: ReplayServer) -> None:
    """A month of hours is one page of the API, and two requests as a file with its checksum."""

    async def files(timeframe: str) -> int:
        async with open_exchange("binance", load_settings(), None) as opened:
            return len(await opened.source.bulk_files(Series.parse(f"binance:NEAR/USDT:{timeframe}"), MONTH))

    assert [asyncio.run(files(timeframe)) for timeframe in ("1m", "30m", "1h")] == [1, 1, 0]


def test_a_killed_backfill_asks_again_for_the_pages_in_flight_alone(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter, killed three times at random moments: what was kept stays, and the end is that of one clean run."""
    at_once = 8
    arguments = ["ingest", "binance:BTC/USDT:1m", "--start", "2026-01-01", "--end", "2026-04-01"]
    rng = random.Random(11)  # noqa: S311 # a seeded draw
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__PAGES_AT_ONCE", str(at_once))
    with ReplayServer(MadeUpMarket(), limits=False, latency_ms=40) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        kills = 0
        for moment in (rng.uniform(0.1, 0.3) for _ in range(3)):
            begun = len(server.windows)
            child = subprocess.Popen([CHANDLER, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while child.poll() is None and len(server.windows) == begun:
                time.sleep(0.01)
            time.sleep(moment)
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            child.wait()
        subprocess.run([CHANDLER, *arguments], check=True, capture_output=True)
        asked = Counter((w.start_ms, w.end_ms) for w in server.windows)
        after = ready(stores)
        tables, files = tables_of(after), archive_of(after)
        monkeypatch.setenv("CHANDLER_HOME", str(tmp_path / "clean"))
        clean = Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
        begun = len(server.windows)
        subprocess.run([CHANDLER, *arguments, "--again"], check=True, capture_output=True)
        once = Counter((w.start_ms, w.end_ms) for w in list(server.windows)[begun:])
    assert kills == 3
    again = sum((asked - once).values())
    assert again <= 3 * at_once, f"{again} pages were asked for again"
    assert tables["candles"] == tables_of(clean)["candles"]
    assert files == archive_of(clean)
    assert is_sound(audit(after))
