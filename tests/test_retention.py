"""Candles that are kept in the archive alone: they leave the warehouse when proved, and come back when touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from etl.audit import SeriesAudit, audit, is_sound, mend
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.keeping import Keep
from etl.quarantine import inspect, release
from etl.retention import RetentionReport, retire_candles
from etl.schema import empty_candles, from_columns, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.warehouse import (
    bring_back,
    find_quarantined,
    known_series,
    read_listing,
    read_quality,
    read_revisions,
    read_status,
    retired_ranges,
)
from tests.markets import kline, put_pages
from tests.snapshots import archive_of, tables_of

BTC, ETH = (Series.parse(f"binance:{base}/USDT:1h") for base in ("BTC", "ETH"))
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)  # archive files of `1h` end here
DAYS = TimeRange(NEW_YEAR - timedelta(days=5), NEW_YEAR + timedelta(days=5))
HOUR_MS = 3_600_000
HOURS = DAYS.count(BTC.timeframe)
OUTAGE, REFUSED = range(50, 60), 30
FIX = f"chandler audit {BTC} --fix"


def _hours(first: int, end: int) -> TimeRange:
    return TimeRange.from_ms(DAYS.start_ms + first * HOUR_MS, DAYS.start_ms + end * HOUR_MS)


def _load(stores: Stores, series: Series, first: int, end: int, price: float = 100.0) -> None:
    """Load hours, of which some are an outage and one has a row to refuse."""
    span = _hours(first, end)
    rows = [
        kline(DAYS.start_ms + hour * HOUR_MS, price, **({"close": price * 2} if hour == REFUSED else {}))
        for hour in range(first, end)
        if hour not in OUTAGE
    ]
    put_pages(stores.raw, series, span, rows)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    clean_pages(patient, Partition(series, span))
    load(stores, Partition(series, span), "test")


def _retire(stores: Stores, day: int) -> RetentionReport:
    """Retire what ends within the first `day` days."""
    keeping = stores.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=30))})
    return retire_candles(replace(stores, settings=keeping), DAYS.start + timedelta(days=day + 30, hours=7))


def _retired(stores: Stores, series: Series = BTC) -> list[TimeRange]:
    with stores.warehouse.begin() as connection:
        return retired_ranges(connection, known_series(connection)[series])


def _bring_all_back(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        for series, series_id in known_series(connection).items():
            bring_back(connection, series_id, DAYS, lambda part, of=series: stores.archive.read(of, part))


def _held(stores: Stores) -> int:
    with stores.warehouse.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM candles").scalar_one())


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with ten days of two series, a day at a time, two of them loaded twice."""
    for series in (BTC, ETH):
        for day in range(10):
            _load(stores, series, 24 * day, 24 * day + 24)
    _load(stores, BTC, 24, 72, 101.0)
    judge_loads(stores, None, "test")
    return stores


def test_what_is_old_and_proved_leaves_and_its_account_stays(loaded: Stores) -> None:
    """The candles are gone from the warehouse; status, audit, quality, absences and archive say what they said."""
    before, files = tables_of(loaded), archive_of(loaded)
    with loaded.warehouse.begin() as connection:
        status, listing = read_status(connection), read_listing(connection, BTC)
    report = _retire(loaded, 6)
    assert (report.horizon, report.problems) == (DAYS.start + timedelta(days=6), [])
    assert report.candles == 2 * (6 * 24 - len(OUTAGE) - 1)
    assert _held(loaded) == 2 * 4 * 24
    assert _retired(loaded) == [_hours(0, 144)]
    after = tables_of(loaded)
    assert {table: after[table] for table in after if table != "candles"} == {
        table: before[table] for table in before if table != "candles"
    }
    assert archive_of(loaded) == files
    with loaded.warehouse.begin() as connection:
        rows = read_status(connection)
        assert [replace(row, retired=0) for row in rows] == status
        assert [row.retired for row in rows] == [report.candles // 2] * 2
    audits = audit(loaded)
    assert is_sound(audits), audits
    assert [one.stored for one in audits] == [HOURS - len(OUTAGE) - 1] * 2
    assert _retire(loaded, 6).candles == 0, "what has left does not leave again"
    _retire(loaded, 10)
    with loaded.warehouse.begin() as connection:
        assert read_listing(connection, BTC) == listing, "a series that has left altogether is no new one"


def test_days_leave_wholly_or_not_at_all(stores: Stores) -> None:
    """Checkpoints that share a day wait for the last of them to be old enough."""
    for first, end in ((0, 24), (24, 30), (30, 60), (60, 100), (100, 120)):
        _load(stores, BTC, first, end)
    assert _retire(stores, 3).candles == 24
    assert _retired(stores) == [_hours(0, 24)]
    assert _retire(stores, 5).candles == 96 - len(OUTAGE) - 1
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        returned = bring_back(connection, series_id, _hours(110, 111), lambda part: stores.archive.read(BTC, part))
    assert returned == 96 - len(OUTAGE) - 1
    assert _retired(stores) == [_hours(0, 24)], "what shares a day with what comes back does, too"
    _load(stores, BTC, 0, 1)
    assert _retired(stores) == []
    assert is_sound(audit(stores))


def test_a_load_into_what_was_retired_compares_with_what_was_there(loaded: Stores) -> None:
    """An equal candle changes nothing, another one leaves a revision of the value that the archive had kept."""
    before = tables_of(loaded)
    _retire(loaded, 8)
    _load(loaded, BTC, 0, 48, 101.0)
    _load(loaded, ETH, 0, 48)
    after = tables_of(loaded)
    assert len(after["revisions"]) == len(before["revisions"]) + 24
    assert {row[3] for row in after["revisions"] if row[0] == "BTC/USDT"} == {100.0}
    assert [row for row in after["candles"] if row[0] == "ETH/USDT" and row[1] < _hours(48, 49).start] == [
        row for row in before["candles"] if row[0] == "ETH/USDT" and row[1] < _hours(48, 49).start
    ]
    assert _retired(loaded) == [_hours(168, 192)], "what a load looks at behind its range comes back as well"
    assert is_sound(audit(loaded))


@pytest.mark.parametrize("seed", [1, 7])
def test_retired_and_brought_back_in_any_order_leaves_what_never_leaving_leaves(seed: int, stores: Stores) -> None:
    """Loads, revisions, releases and judging among retirements end in the tables and files that they end in without."""
    outcomes, retired = [], 0
    for is_retiring in (False, True):
        random = np.random.default_rng(seed)
        for step in range(9):
            series = (BTC, ETH)[random.integers(2)]
            first, end = sorted(random.choice(HOURS + 1, 2, replace=False).tolist())
            match random.integers(4), step:
                case (3, 1 | 4 | 7):
                    judge_loads(stores, None, "test")
                case (2, 3 | 5):
                    _release(stores)
                case _:
                    _load(stores, series, first, end, float(random.integers(100, 103)))
            day = int(random.integers(11))
            if is_retiring:
                report = _retire(stores, day)
                assert report.problems == []
                retired += report.candles
                audits = audit(stores)
                assert is_sound(audits), (step, audits)
        judge_loads(stores, None, "test")
        if is_retiring:
            _bring_all_back(stores)
        assert is_sound(audit(stores))
        outcomes.append((tables_of(stores), archive_of(stores)))
        _forget(stores)
    assert outcomes[0] == outcomes[1]
    assert retired


def _release(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        ids = connection.exec_driver_sql("SELECT id FROM quarantine WHERE state = 'open' ORDER BY id").scalars().all()
        rows = [find_quarantined(connection, one) for one in ids]
    for row in rows:
        if row is not None:
            release(stores, row.id, "it was so", "test")


def _forget(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("TRUNCATE series RESTART IDENTITY CASCADE")
        connection.exec_driver_sql("TRUNCATE candles, candle_revisions")
    for path in Path(stores.settings.home).rglob("*.parquet"):
        path.unlink()


def test_a_retirement_that_is_killed_has_not_been(loaded: Stores) -> None:
    """Neither candles nor marks change unless both do; the next run retires."""
    before = tables_of(loaded)
    with pytest.raises(KeyboardInterrupt), patch("etl.warehouse.retiring._mark", side_effect=KeyboardInterrupt):
        _retire(loaded, 10)
    assert tables_of(loaded) == before
    assert _retired(loaded) == []
    _retire(loaded, 10)
    assert _held(loaded) == 0
    assert _retire(loaded, 10).candles == 0


def test_what_is_shown_of_what_was_retired_is_the_archive_s(loaded: Stores) -> None:
    """A refused row is shown among its neighbours; a revision does not claim that the value after is none."""
    before = inspect(loaded, 1).around
    _retire(loaded, 10)
    assert inspect(loaded, 1).around.equals(before)
    with loaded.warehouse.begin() as connection:
        revisions = read_revisions(connection, [BTC])
    assert len(revisions) == 48 - 10 - 1
    assert {len(one.changed) for one in revisions} == {0}


def test_a_brought_back_candle_stands_since_it_was_known(loaded: Stores) -> None:
    """Revised, since the revision, to the microsecond; else since its range was loaded, never earlier than it came."""
    query = (
        "SELECT open_time, stored_at, flags & 1 = 1 FROM candles WHERE series_id = 1 AND open_time < %(end)s ORDER BY 1"
    )
    with loaded.warehouse.begin() as connection:
        end = {"end": _hours(96, 97).start}
        before = connection.exec_driver_sql(query, end).all()
    _retire(loaded, 10)
    _bring_all_back(loaded)
    with loaded.warehouse.begin() as connection:
        after = connection.exec_driver_sql(query, end).all()
    assert [row[0] for row in after] == [row[0] for row in before]
    for (_, was, is_revised), (_, now, _) in zip(before, after, strict=True):
        assert now == was if is_revised else was <= now < was + timedelta(minutes=5)
    assert is_sound(audit(loaded))


def _archived(stores: Stores, hour: int, **values: float) -> None:
    """Let the archive hold something else in an hour; nothing, without values."""
    span = _hours(hour, hour + 1)
    columns = to_columns(stores.archive.read(BTC, span))
    candles = from_columns(columns | {name: np.array([value]) for name, value in values.items()})
    stores.archive.write(BTC, span, candles if values else empty_candles())


LACKING = f"the archive does not hold what the checkpoint of {_hours(0, 24)} vouches for"
UNLIKE = f"archive and warehouse do not hold the same in {_hours(0, 24)}"


@pytest.mark.parametrize(("values", "why"), [({}, LACKING), ({"close": 100.2}, LACKING), ({"flags": 256}, UNLIKE)])
def test_what_the_archive_does_not_prove_stays(values: dict[str, float], why: str, loaded: Stores) -> None:
    """Where it lacks a candle or says anything else of one nothing leaves, and the report says so; the rest leaves."""
    _archived(loaded, 5, **values)
    report = _retire(loaded, 10)
    assert report.problems == [f"{BTC} {_hours(0, 24)} stays: {why}; see chandler audit {BTC}"]
    assert _retired(loaded) == [_hours(24, 240)]
    assert is_sound(mend(loaded, audit(loaded)))
    assert _retire(loaded, 10).problems == []
    assert _retired(loaded) == [_hours(0, 240)]


def _problems(stores: Stores) -> SeriesAudit:
    (account, _) = audit(stores)
    assert not is_sound([account])
    return account


@pytest.mark.parametrize("values", [{}, {"close": 100.2}])
def test_what_the_archive_has_lost_of_what_it_alone_kept_only_the_exchange_can_mend(
    values: dict[str, float], loaded: Stores
) -> None:
    """The audit names it; nothing touches it until it is given up; then it is loaded as the exchange has it."""
    before = tables_of(loaded)
    _retire(loaded, 4)
    _archived(loaded, 100, close=100.3)
    _archived(loaded, 80, **values)
    again = f"chandler ingest {BTC} --start 2024-12-30T00:00 --end 2024-12-31T00:00 --again"
    account = _problems(loaded)
    (problem,) = [p for p in account.problems if "the archive does not hold the candles" in p.what]
    assert (problem.time_range, problem.remedy) == (_hours(72, 96), f"{FIX}, then {again}")
    with pytest.raises(Exception, match="the archive does not hold the candles of .* that it alone is to keep"):
        _load(loaded, BTC, 72, 80)
    audits = mend(loaded, [account])
    assert {problem.remedy.partition(" --start")[0] for problem in audits[0].problems} == {f"chandler ingest {BTC}"}
    _load(loaded, BTC, 72, 96)
    assert is_sound(mend(loaded, audit(loaded)))
    _bring_all_back(loaded)
    assert tables_of(loaded)["candles"] == before["candles"]


BREAKAGES = [
    ("UPDATE quality SET stored = stored + 1 WHERE day = '2024-12-28'", "the quality of 1 days"),
    ("DELETE FROM quality WHERE day = '2024-12-28'", "the quality of 1 days"),
    ("DELETE FROM absences", "neither stored nor recorded as absent"),
    ("UPDATE checkpoints SET rows = rows + 1", "its checkpoint counts 25 candles"),
    ("UPDATE candle_revisions SET revision = 2", "not numbered from 1 without gaps"),
    (
        "INSERT INTO candles (series_id, open_time, open, high, low, close, volume, flags, source)"
        " VALUES (1, '2024-12-28 05:00Z', 1, 1, 1, 1, 1, 0, 1)",
        "that the archive alone is to keep are in the warehouse still",
    ),
]


@pytest.mark.parametrize(("statement", "complaint"), BREAKAGES)
def test_the_account_of_what_was_retired_is_proved_and_mended(statement: str, complaint: str, loaded: Stores) -> None:
    """What is wrong in the tables is found by the archive's candles, and mended without bringing them back."""
    _retire(loaded, 6)
    before, files, retired = tables_of(loaded), archive_of(loaded), _retired(loaded)
    with loaded.warehouse.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount
    audits = audit(loaded)
    problems = [problem for one in audits for problem in one.problems]
    assert [p for p in problems if complaint in p.what], problems
    mended = mend(loaded, audits)
    assert is_sound(mended), mended
    judge_loads(loaded, None, "test")
    assert tables_of(loaded) == before
    assert archive_of(loaded) == files
    assert _retired(loaded) == retired


def test_flags_of_what_was_retired_are_mended_where_it_is(loaded: Stores) -> None:
    """The archive is written again, the warehouse gets nothing of it."""
    _retire(loaded, 6)
    held, files = _held(loaded), archive_of(loaded)
    _archived(loaded, 5, flags=256)
    assert "1 candles have other flags than the rules find" in [problem.what for problem in _problems(loaded).problems]
    assert is_sound(mend(loaded, audit(loaded)))
    assert (_held(loaded), archive_of(loaded)) == (held, files)


def test_a_file_with_retired_candles_that_is_broken_is_kept_aside(loaded: Stores) -> None:
    """Nothing of it is deleted; put back in its place it proves again what it proved before."""
    _retire(loaded, 4)
    (path,) = (path for path in Path(loaded.settings.home).rglob("2024.parquet") if "BTC" in str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert _problems(loaded)
    mend(loaded, audit(loaded))
    (aside,) = path.parent.glob("*aside*")
    assert aside.read_bytes() == whole[:-100]
    path.write_bytes(whole)
    assert is_sound(mend(loaded, audit(loaded)))


def test_other_series_are_not_silent_where_they_were_retired(stores: Stores) -> None:
    """Judged against candles that the archive alone keeps a silence is a halt, as it would be otherwise."""
    for day in range(4):
        _load(stores, ETH, 24 * day, 24 * day + 24)
    span = _hours(0, 96)
    put_pages(stores.raw, ETH, _hours(48, 72), [kline(DAYS.start_ms + h * HOUR_MS) for h in range(48, 72)])
    clean_pages(stores, Partition(ETH, _hours(48, 72)))
    load(stores, Partition(ETH, _hours(48, 72)), "test")
    _retire(stores, 4)
    assert _retired(stores, ETH) == [span]
    _load(stores, BTC, 0, 96)
    judge_loads(stores, None, "test")
    with stores.warehouse.begin() as connection:
        days = read_quality(connection, known_series(connection)[BTC])
    assert [day.absent for day in days.values() if day.absent] == [{"refused": 1}, {"halted": 10}]
    assert is_sound(audit(stores))
