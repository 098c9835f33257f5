"""Candles that are kept in the archive alone: they leave the warehouse, and come back when touched."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from etl.audit import audit, is_sound
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.quarantine import inspect, release
from etl.rules import Rules
from etl.stores import Partition, Stores
from etl.warehouse import (
    bring_back,
    find_quarantined,
    known_series,
    read_listing,
    read_quality,
    read_revisions,
    read_status,
)
from tests.markets import kline, put_pages
from tests.retiring import (
    BTC,
    DAYS,
    ETH,
    HOUR_MS,
    HOURS,
    OUTAGE,
    bring_all_back,
    candles_held,
    hours,
    load_hours,
    load_ten_days,
    retire,
    retired_of,
)
from tests.snapshots import archive_of, tables_of


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with ten days of two series, a day at a time, two of them loaded twice."""
    load_ten_days(stores)
    return stores


def test_what_is_old_and_proved_leaves_and_its_account_stays(loaded: Stores) -> None:
    """The candles are gone from the warehouse; status, audit, quality, absences and archive say what they said."""
    before, files = tables_of(loaded), archive_of(loaded)
    with loaded.warehouse.begin() as connection:
        status, listing = read_status(connection), read_listing(connection, BTC)
    report = retire(loaded, 6)
    assert (report.horizon, report.problems) == (DAYS.start + timedelta(days=6), [])
    assert report.candles == 2 * (6 * 24 - len(OUTAGE) - 1)
    assert candles_held(loaded) == 2 * 4 * 24
    assert retired_of(loaded) == [hours(0, 144)]
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
    assert retire(loaded, 6).candles == 0, "what has left does not leave again"
    retire(loaded, 10)
    with loaded.warehouse.begin() as connection:
        assert read_listing(connection, BTC) == listing, "a series that has left altogether is no new one"


def test_days_leave_wholly_or_not_at_all(stores: Stores) -> None:
    """Checkpoints that share a day wait for the last of them to be old enough."""
    for first, end in ((0, 24), (24, 30), (30, 60), (60, 100), (100, 120)):
        load_hours(stores, BTC, first, end)
    assert retire(stores, 3).candles == 24
    assert retired_of(stores) == [hours(0, 24)]
    assert retire(stores, 5).candles == 96 - len(OUTAGE) - 1
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        returned = bring_back(connection, series_id, hours(110, 111), lambda part: stores.archive.read(BTC, part))
    assert returned == 96 - len(OUTAGE) - 1
    assert retired_of(stores) == [hours(0, 24)], "what shares a day with what comes back does, too"
    load_hours(stores, BTC, 0, 1)
    assert retired_of(stores) == []
    assert is_sound(audit(stores))


def test_a_load_into_what_was_retired_compares_with_what_was_there(loaded: Stores) -> None:
    """An equal candle changes nothing, another one leaves a revision of the value that the archive had kept."""
    before = tables_of(loaded)
    retire(loaded, 10)
    near = replace(loaded, settings=loaded.settings.model_copy(update={"rules": Rules(lookback_slots=150)}))
    load_hours(near, BTC, 0, 48, 101.0)
    load_hours(near, ETH, 0, 48)
    after = tables_of(loaded)
    assert len(after["revisions"]) == len(before["revisions"]) + 24
    assert {row[3] for row in after["revisions"] if row[0] == "BTC/USDT"} == {100.0}
    assert [row for row in after["candles"] if row[0] == "ETH/USDT" and row[1] < hours(48, 49).start] == [
        row for row in before["candles"] if row[0] == "ETH/USDT" and row[1] < hours(48, 49).start
    ]
    assert retired_of(loaded) == [hours(216, 240)], "what a load looks at behind its range comes back as well"
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
                    load_hours(stores, series, first, end, float(random.integers(100, 103)))
            day = int(random.integers(11))
            if is_retiring:
                report = retire(stores, day)
                assert report.problems == []
                retired += report.candles
                audits = audit(stores)
                assert is_sound(audits), (step, audits)
        judge_loads(stores, None, "test")
        if is_retiring:
            bring_all_back(stores)
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
        retire(loaded, 10)
    assert tables_of(loaded) == before
    assert retired_of(loaded) == []
    retire(loaded, 10)
    assert candles_held(loaded) == 0
    assert retire(loaded, 10).candles == 0


def test_what_is_shown_of_what_was_retired_is_the_archive_s(loaded: Stores) -> None:
    """A refused row is shown among its neighbours; a revision does not claim that the value after is none."""
    before = inspect(loaded, 1).around
    retire(loaded, 10)
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
        end = {"end": hours(96, 97).start}
        before = connection.exec_driver_sql(query, end).all()
    retire(loaded, 10)
    bring_all_back(loaded)
    with loaded.warehouse.begin() as connection:
        after = connection.exec_driver_sql(query, end).all()
    assert [row[0] for row in after] == [row[0] for row in before]
    for (_, was, is_revised), (_, now, _) in zip(before, after, strict=True):
        assert now == was if is_revised else was <= now < was + timedelta(minutes=5)
    assert is_sound(audit(loaded))


def test_other_series_are_not_silent_where_they_were_retired(stores: Stores) -> None:
    """Judged against candles that the archive alone keeps a silence is a halt, as it would be otherwise."""
    for day in range(4):
        load_hours(stores, ETH, 24 * day, 24 * day + 24)
    span = hours(0, 96)
    put_pages(stores.raw, ETH, hours(48, 72), [kline(DAYS.start_ms + h * HOUR_MS) for h in range(48, 72)])
    clean_pages(stores, Partition(ETH, hours(48, 72)))
    load(stores, Partition(ETH, hours(48, 72)), "test")
    retire(stores, 4)
    assert retired_of(stores, ETH) == [span]
    load_hours(stores, BTC, 0, 96)
    judge_loads(stores, None, "test")
    with stores.warehouse.begin() as connection:
        days = read_quality(connection, known_series(connection)[BTC])
    assert [day.absent for day in days.values() if day.absent] == [{"refused": 1}, {"halted": 10}]
    assert is_sound(audit(stores))
