"""Repair: what is due is asked for again, a little at a time; what has appeared is stored, the rest is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tenacity

from etl.audit import audit, is_sound
from etl.errors import SourceUnavailableError
from etl.exchanges import EXCHANGES
from etl.feeds_file import load_settings
from etl.ingest import ingest
from etl.repair import plan_probes, repair
from etl.replay import FaultPlan, RecordedMarket, ReplayServer
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import Absence, known_series, read_absences
from tests.conftest import BTC

ETH = Series.parse("binance:ETH/USDT:1m")
DAY = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
NOW = DAY.end + timedelta(hours=1)
HOLE = TimeRange(datetime(2024, 3, 1, 6, tzinfo=UTC), datetime(2024, 3, 1, 8, tzinfo=UTC))
LATE = TimeRange(datetime(2024, 3, 1, 6, 30, tzinfo=UTC), datetime(2024, 3, 1, 7, tzinfo=UTC))
Serve = Callable[..., ReplayServer]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a replay exchange whose two symbols lack what is said, at a time that is said; it replaces the last one."""
    servers: list[ReplayServer] = []

    def start(lacks: list[TimeRange], now: datetime, **options: object) -> ReplayServer:
        folder = tmp_path / f"recording{len(servers)}"
        for seed, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
            _record(folder / "binance" / symbol / "1m.parquet", seed, lacks)
        server = ReplayServer(RecordedMarket(folder), clock=lambda: to_ms(now), **options)  # type: ignore[arg-type]
        server.__enter__()
        servers.append(server)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__REPAIR_SHARE", "1")  # no need to be gentle
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def _record(path: Path, seed: int, lacks: list[TimeRange]) -> None:
    times = np.arange(DAY.start_ms - 86_400_000, DAY.end_ms, 60_000)
    for span in lacks:
        times = times[(times < span.start_ms) | (times >= span.end_ms)]
    price = 100 * np.exp(np.random.default_rng(seed).standard_normal(len(times)) * 1e-4)
    path.parent.mkdir(parents=True)
    columns = {"open": price, "high": price * 1.001, "low": price * 0.999, "close": price, "volume": price}
    open_time = pa.array(times).cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(
        pa.table({"open_time": open_time, **{name: pa.array(values) for name, values in columns.items()}}), path
    )


def _reopened(stores: Stores) -> Stores:
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)


def _absences(stores: Stores, series: Series) -> list[Absence]:
    with stores.warehouse.begin() as connection:
        return read_absences(connection, known_series(connection)[series])


def test_an_outage_is_told_probed_filled_and_in_the_end_left_alone(serve: Serve, stores: Stores) -> None:
    """A hole is pending while young, then judged and asked for after growing pauses; what comes late is had."""
    serve([HOLE], NOW)
    stores = _reopened(stores)
    for series in (BTC, ETH):
        ingest(stores, Partition(series, DAY), "day")
    assert repair(stores, "binance", NOW, "early").due == 0, "it is too young"
    assert [(a.kind, a.span) for a in _absences(stores, BTC)] == [(AbsenceKind.PENDING, HOLE)]

    settled = HOLE.end + timedelta(hours=24)
    server = serve([HOLE], settled)
    stores = _reopened(stores)
    report = repair(stores, "binance", settled, "settled")
    assert (report.due, report.probes, report.filled, report.rejudged) == (240, 2, 0, 2)
    assert len(server.windows) <= 4, "a probe of two hours is a page, looked at twice"
    assert [(a.kind, a.span) for a in _absences(stores, BTC)] == [(AbsenceKind.OUTAGE, HOLE)]
    assert repair(stores, "binance", settled + timedelta(hours=23), "not yet").due == 0

    later = settled + timedelta(hours=25)
    serve([TimeRange(HOLE.start, LATE.start), TimeRange(LATE.end, HOLE.end)], later)
    stores = _reopened(stores)
    assert repair(stores, "binance", later, "later").filled == 60
    spans = [TimeRange(HOLE.start, LATE.start), TimeRange(LATE.end, HOLE.end)]
    assert [a.span for a in _absences(stores, BTC)] == [a.span for a in _absences(stores, ETH)] == spans

    asked = []
    for hours, day in enumerate((2, 3, 11, 12, 38, 39, 100)):
        now = later + timedelta(days=day, hours=hours)
        serve(spans, now)
        asked.append(repair(_reopened(stores), "binance", now, f"day {day}").probes)
    assert asked == [0, 2, 0, 2, 0, 2, 0], "3, 9 and 27 days later, one probe for each symbol, and then no more"
    assert all(a.next_probe is None for a in _absences(stores, BTC)), "confirmed"
    assert is_sound(audit(stores))


def test_a_refused_row_among_few_does_not_fail_a_probe(serve: Serve, stores: Stores) -> None:
    """Of four candles that come late one cannot be true: that is a quarter, and the others are stored all the same."""
    serve([HOLE], NOW)
    ingest(_reopened(stores), Partition(BTC, DAY), "day")
    settled = HOLE.end + timedelta(hours=25)
    four = TimeRange(HOLE.start + timedelta(minutes=50), HOLE.start + timedelta(minutes=54))
    spans = [TimeRange(HOLE.start, four.start), TimeRange(four.end, HOLE.end)]
    serve(spans, settled, faults=FaultPlan.parse(["null:*/klines"]))
    report = repair(_reopened(stores), "binance", settled, "settled")
    assert (report.filled, report.failures) == (3, [])
    assert [a.kind for a in _absences(stores, BTC)] == [AbsenceKind.OUTAGE, AbsenceKind.REFUSED, AbsenceKind.OUTAGE]


def test_what_could_not_be_fetched_is_said_and_fetched_when_the_exchange_is_back(
    serve: Serve, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range that failed is unfetched, with the reason; repair asks an hour later, and again after a longer pause."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    serve([], NOW, faults=FaultPlan.parse(["http_503:*/klines"]))
    stores = _reopened(stores)
    with pytest.raises(SourceUnavailableError):
        ingest(stores, Partition(BTC, DAY), "down")
    (absence,) = _absences(stores, BTC)
    assert (absence.kind, absence.span) == (AbsenceKind.UNFETCHED, DAY)
    assert "could not be fetched" in absence.evidence
    (account,) = audit(stores)
    assert is_sound([account])
    assert (account.expected, account.absent) == (1440, {"unfetched": 1440})

    due = absence.next_probe
    assert due is not None
    assert repair(stores, "binance", due - timedelta(minutes=1), "too early").due == 0
    report = repair(stores, "binance", due, "still down")
    assert len(report.failures) == 1
    assert report.left == 1440
    (absence,) = _absences(stores, BTC)
    assert absence.next_probe is not None
    assert absence.next_probe - datetime.now(UTC) > timedelta(minutes=110), "the next pause is twice as long"

    serve([], NOW)
    stores = _reopened(stores)
    assert repair(stores, "binance", absence.next_probe, "back").filled == 1440
    assert _absences(stores, BTC) == []
    assert is_sound(audit(stores))


def test_a_run_asks_for_no_more_than_its_share(stores: Stores) -> None:
    """Of a year that is due a run plans as many pages as ten minutes of its share allow; the rest waits its turn."""
    year = TimeRange(datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
    due = {BTC: [Absence(year, AbsenceKind.UNFETCHED)], ETH: [Absence(HOLE, AbsenceKind.OUTAGE)]}
    kraken = EXCHANGES["kraken"]
    probes, left = plan_probes(due, kraken, share=0.1)
    assert sum(-(-p.partition.time_range.count(BTC.timeframe) // kraken.page_limit) for p in probes) <= 60
    assert left + sum(p.partition.time_range.count(BTC.timeframe) for p in probes) == 366 * 1440 + 120
    everything, none_left = plan_probes(due, EXCHANGES["binance"], share=0.1)
    assert none_left == 0
    assert [p.is_first for p in everything] == [True] * 12 + [False], "a month each, and what nobody has had goes first"


def test_near_absences_are_asked_for_together(stores: Stores) -> None:
    """A page's reach is one probe, however many absences lie in it; no absence is split between two."""
    minutes = [0, 5, 900, 999, 1001, 1900, 2500]
    absences = [
        Absence(TimeRange.from_ms(DAY.start_ms + m * 60_000, DAY.start_ms + (m + 2) * 60_000), AbsenceKind.OUTAGE)
        for m in minutes
    ]
    probes, _ = plan_probes({BTC: absences}, EXCHANGES["binance"], share=0.1)
    starts = [(p.partition.time_range.start_ms - DAY.start_ms) // 60_000 for p in probes]
    assert starts == [0, 999, 2500]
    assert all(
        any(p.partition.time_range.start <= a.span.start and a.span.end <= p.partition.time_range.end for p in probes)
        for a in absences
    )


def test_two_repairs_of_an_exchange_do_not_add_up(serve: Serve, stores: Stores) -> None:
    """While one is under way another one says so and asks for nothing."""
    server = serve([HOLE], HOLE.end + timedelta(hours=25))
    stores = _reopened(stores)
    ingest(stores, Partition(BTC, TimeRange(DAY.start, HOLE.end + timedelta(hours=1))), "day")
    with stores.warehouse.engine.connect() as other:
        other.exec_driver_sql("SELECT pg_advisory_lock(hashtext('chandler repair'), hashtext('binance'))")
        before = len(server.windows)
        report = repair(stores, "binance", NOW + timedelta(days=9), "second", within=DAY)
        assert report.is_elsewhere
        assert len(server.windows) == before
        # Not by closing the connection, which the server notices a moment later.
        other.exec_driver_sql("SELECT pg_advisory_unlock_all()")
    assert repair(stores, "binance", NOW, "first", within=DAY).probes == 1, "in a range that is named, due or not"
