"""A local time that the clock shows twice: a row that may be of either of two slots is evidence for both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from etl.accounting import account_for_loads
from etl.audit import audit, is_sound, mend
from etl.days import read_day
from etl.errors import ConfigError, DataQualityError
from etl.extract.files.times import to_zone
from etl.importing import account, plan_import, preview, run_import
from etl.ingest import clean_pages
from etl.ingest import load as put_into_stores
from etl.quarantine import confirm, inspect, release
from etl.rebuild import plan_rebuild, run_rebuild
from etl.schema import AbsenceKind, Flag
from etl.series import Series, TimeRange
from etl.show import inspection, quarantine_json
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import (
    Absence,
    Quarantined,
    Wanted,
    known_series,
    read_absences,
    read_candles,
    read_quarantine,
)
from tests.extract.test_candle_files import written
from tests.markets import kline, put_pages
from tests.snapshots import tables_of

ZONE = "Europe/Berlin"
AUTUMN = datetime(2023, 10, 29, tzinfo=UTC)
"""The moment when Berlin's clocks show 02:00 for the first time; an hour later they do so again."""
SPRING = datetime(2023, 3, 26, 1, tzinfo=UTC)
"""The moment when Berlin's clocks go from 02:00 to 03:00."""
DAY = timedelta(days=1)
HOURS = Series.parse("coinbase:BTC/USD:1h")
BLAMED = {AbsenceKind.HALTED, AbsenceKind.OUTAGE, AbsenceKind.NO_TRADES, AbsenceKind.PENDING}


def lines(series: Series, around: datetime, missing: Sequence[datetime] = ()) -> list[str]:
    """Return candles of four days in Berlin's local time, without some."""
    zone, width = to_zone(ZONE), series.timeframe.delta
    slots = [around - 2 * DAY - timedelta(hours=around.hour) + n * width for n in range(4 * DAY // width)]
    return [
        f"{at.astimezone(zone):%Y-%m-%d %H:%M},{100 + n},{102 + n},{99 + n},{101 + n},1"
        for n, at in enumerate(slots)
        if at not in missing
    ]


def load(
    stores: Stores, tmp_path: Path, series: Series, rows: Sequence[str], name: str = "local.csv"
) -> dict[str, int]:
    """Import a file, account for it, and check that the lines of the file are those that were accounted for."""
    content = "\n".join(["date,open,high,low,close,volume", *rows])
    path = written(tmp_path / name, content, to_ms(AUTUMN) + 10**10)
    report = account(list(run_import(stores, plan_import(stores, path, series, to_zone(ZONE)))))
    assert report.rows == len(rows)
    refused = sum(report.refused.values())
    assert report.rows == report.accepted + report.repeated + report.outside + report.silent + refused
    assert refused == len(quarantined(stores)), "each once"
    account_for_loads(stores, None, "test")
    return dict(report.refused)


def quarantined(stores: Stores) -> list[Quarantined]:
    """Return the refused rows, the earliest first."""
    with stores.warehouse.begin() as connection:
        return sorted(read_quarantine(connection, Wanted()), key=lambda row: row.id)


def absent(stores: Stores, series: Series) -> list[Absence]:
    """Return what is absent of a series."""
    with stores.warehouse.begin() as connection:
        return list(read_absences(connection, known_series(connection)[series]))


def slots_of(stores: Stores, series: Series) -> dict[datetime, AbsenceKind]:
    """Return the kind of each absent slot."""
    width = series.timeframe.delta
    return {
        one.span.start + n * width: one.kind
        for one in absent(stores, series)
        for n in range(one.span.count(series.timeframe))
    }


@pytest.mark.parametrize("lost", [0, 1], ids=["the first is lost", "the second is lost"])
@pytest.mark.parametrize("timeframe", ["1h", "15m", "1m"])
def test_both_slots_of_a_row_that_may_be_of_either_are_refused(
    timeframe: str, lost: int, stores: Stores, tmp_path: Path
) -> None:
    """Its line is one row, and the evidence for both; the audit and the page of the day say the same."""
    series = Series.parse(f"coinbase:BTC/USD:{timeframe}")
    at = AUTUMN + timedelta(minutes=0 if timeframe == "1h" else 15)
    both = [at, at + timedelta(hours=1)]
    beside = [] if timeframe == "1h" else [one + series.timeframe.delta for one in both]  # else the order would tell
    refused = load(stores, tmp_path, series, lines(series, AUTUMN, [both[lost], *beside]))
    assert refused == {"shape": 1}
    kinds = slots_of(stores, series)
    assert kinds.keys() == {*both, *beside}
    assert [slot for slot, kind in kinds.items() if kind is AbsenceKind.REFUSED] == both
    for one in (one for one in absent(stores, series) if one.kind is AbsenceKind.REFUSED):
        assert "the open time 2023-10-29 02:" in one.evidence
        assert "is twice in Europe/Berlin, and 1 time in the file" in one.evidence
    (row,) = quarantined(stores)
    assert (row.open_time, row.later_open_time) == tuple(both)
    assert is_sound(audit(stores))
    with stores.warehouse.begin() as connection:
        day = read_day(connection, series, AUTUMN.date())
    assert (day.quality.absent["refused"], day.quality.refused) == (2, {"shape": 1})
    assert [(each.open_time, each.later_open_time) for each in day.refused] == [tuple(both)]


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("lost", [0, 1], ids=["the first is lost", "the second is lost"])
def test_the_order_of_the_rows_tells_which_of_two_slots_a_row_is_of(
    lost: int, is_descending: bool, stores: Stores, tmp_path: Path
) -> None:
    """Between the rows before and after it one slot is free, and the row may be of it: the lost one is absent alone."""
    series = Series.parse("coinbase:BTC/USD:15m")
    both = [AUTUMN + timedelta(minutes=15), AUTUMN + timedelta(minutes=75)]
    rows = lines(series, AUTUMN, [both[lost]])
    assert load(stores, tmp_path, series, rows[::-1] if is_descending else rows) == {}
    assert slots_of(stores, series).keys() == {both[lost]}
    assert AbsenceKind.REFUSED not in slots_of(stores, series).values()
    kept = TimeRange(both[1 - lost], both[1 - lost] + series.timeframe.delta)
    with stores.warehouse.begin() as connection:
        (candle,) = read_candles(connection, known_series(connection)[series], kept).to_pylist()
    assert candle["open"] == 100 + (kept.start - (AUTUMN - 2 * DAY)) // series.timeframe.delta
    assert is_sound(audit(stores))


def test_a_file_that_ends_half_way_through_the_second_pass_is_read_whole(stores: Stores, tmp_path: Path) -> None:
    """Its times from 02:30 are there once, between the two passes of those before."""
    series = Series.parse("coinbase:BTC/USD:1m")
    assert load(stores, tmp_path, series, lines(series, AUTUMN)[: 2 * 1440 + 90]) == {}
    assert slots_of(stores, series) == {}


def test_an_hour_that_is_there_once_is_refused_twice(stores: Stores, tmp_path: Path) -> None:
    """If a writer has left out a whole hour, no slot of the two is told as a silence of the exchange."""
    series = Series.parse("coinbase:BTC/USD:15m")
    hour = [AUTUMN + timedelta(minutes=15 * n) for n in range(8)]
    load(stores, tmp_path, series, lines(series, AUTUMN, hour[4:]))
    assert slots_of(stores, series) == dict.fromkeys(hour, AbsenceKind.REFUSED)
    assert is_sound(audit(stores))


@pytest.mark.parametrize("timeframe", ["1h", "15m", "1m"])
@pytest.mark.parametrize("is_end", [True, False], ids=["the end", "the beginning"])
def test_a_file_may_end_or_begin_inside_the_hour(is_end: bool, timeframe: str, stores: Stores, tmp_path: Path) -> None:
    """It speaks of the slots that its rows may be of, and of none between or beyond them; each row can be released."""
    series = Series.parse(f"coinbase:BTC/USD:{timeframe}")
    width, hour = series.timeframe.delta, timedelta(hours=1)
    part = 1 if timeframe == "1h" else hour // width // 2
    per_day = DAY // width
    rows = lines(series, AUTUMN)
    middle = 2 * per_day
    kept = rows[: middle + part] if is_end else rows[middle + 2 * (hour // width) - part :]
    starts = [AUTUMN, AUTUMN + hour] if is_end else [AUTUMN + hour - part * width, AUTUMN + 2 * hour - part * width]
    assert load(stores, tmp_path, series, kept) == {"shape": part}
    both = [start + n * width for start in starts for n in range(part)]
    between = [starts[0] + n * width for n in range(part, hour // width)]
    kinds = dict.fromkeys(both, AbsenceKind.REFUSED) | dict.fromkeys(between, AbsenceKind.NOT_REQUESTED)
    assert slots_of(stores, series) == kinds
    first = quarantined(stores)[0]
    assert (first.open_time, first.later_open_time) == (starts[0], starts[1])
    assert release(stores, first.id, "by its place", "by hand", starts[not is_end]).new == 1
    assert [row.state for row in quarantined(stores) if row.id == first.id] == ["released"]
    assert is_sound(audit(stores))


def test_a_file_half_of_whose_rows_may_be_of_two_slots_is_imported(stores: Stores, tmp_path: Path) -> None:
    """It begins with the second pass of the hour; the preview tells of each slot. Such rows alone say no time."""
    series = Series.parse("coinbase:BTC/USD:1m")
    second = 2 * 1440 + 60
    kept = lines(series, AUTUMN)[second : second + 120]
    content = "\n".join(["date,open,high,low,close,volume", *kept])
    path = written(tmp_path / "local.csv", content, to_ms(AUTUMN) + 10**10)
    shown = preview(path, series, to_zone(ZONE), stores.settings, 8)
    assert (shown.slots, shown.stored, shown.refused_slots, len(shown.refused)) == (180, 60, 120, 60)
    assert load(stores, tmp_path, series, kept) == {"shape": 60}
    both = [AUTUMN + timedelta(minutes=n) for n in range(120)]
    assert slots_of(stores, series) == dict.fromkeys(both, AbsenceKind.REFUSED)
    first = quarantined(stores)[0]
    assert first.evidence.endswith("; line 2")
    assert release(stores, first.id, "by its place", "by hand", both[60]).new == 1
    assert is_sound(audit(stores))
    alone = written(tmp_path / "alone.csv", "\n".join(content.split("\n")[:61]), to_ms(AUTUMN) + 10**10)
    with pytest.raises(
        ConfigError, match="none of its rows states one moment: .* 02:00:00 is twice in .*; write times"
    ):
        plan_import(stores, alone, series, to_zone(ZONE))


@pytest.mark.parametrize("timeframe", ["2h", "4h", "12h", "1d"])
def test_coarse_candles_are_read_by_their_grid_in_spring_and_in_autumn(
    timeframe: str, stores: Stores, tmp_path: Path
) -> None:
    """Of the two readings one alone is on the grid, so that a candle which is lost is absent alone."""
    series = Series.parse(f"coinbase:BTC/USD:{timeframe}")
    for name, around in (("autumn", AUTUMN), ("spring", SPRING - timedelta(hours=1))):
        rows = lines(series, around, [around - series.timeframe.delta])
        assert load(stores, tmp_path, series, rows, f"{name}.csv") == {}
        kinds = slots_of(stores, series)
        assert kinds.pop(around - series.timeframe.delta) is not AbsenceKind.REFUSED
        assert AbsenceKind.REFUSED not in kinds.values()
    assert is_sound(audit(stores))


def test_a_time_that_spring_leaves_out_is_evidence_for_the_slots_beside_it(stores: Stores, tmp_path: Path) -> None:
    """A writer who changed his clock too late has written 02:00 for 03:00: its slot is no silence of the exchange."""
    rows = [row.replace("2023-03-26 03:00", "2023-03-26 02:00") for row in lines(HOURS, SPRING)]
    assert load(stores, tmp_path, HOURS, rows) == {"shape": 1}
    assert slots_of(stores, HOURS) == {SPRING: AbsenceKind.REFUSED}
    assert is_sound(audit(stores))


def test_a_row_of_two_times_is_released_for_one_of_them(stores: Stores, tmp_path: Path) -> None:
    """A person says which; the other slot is judged by what is known then, and a later import changes nothing."""
    both = [AUTUMN, AUTUMN + timedelta(hours=1)]
    rows = lines(HOURS, AUTUMN, both[:1])
    load(stores, tmp_path, HOURS, rows)
    (row,) = quarantined(stores)
    with pytest.raises(
        ConfigError, match="nothing tells which; say when it opens.*--at 2023-10-29T00:00 or 2023-10-29T01"
    ):
        release(stores, row.id, None, "by hand")
    with pytest.raises(
        ConfigError, match="no candle of 2023-10-29 02:00; it opens at 2023-10-29T00:00 or 2023-10-29T01"
    ):
        release(stores, row.id, None, "by hand", AUTUMN + timedelta(hours=2))
    assert slots_of(stores, HOURS) == dict.fromkeys(both, AbsenceKind.REFUSED), "nothing was decided"
    assert release(stores, row.id, "by its volume", "by hand", both[1]).new == 1
    (waits,) = absent(stores, HOURS)
    assert (waits.kind, waits.span.start) == (AbsenceKind.PENDING, both[0])
    assert f"row {row.id} of quarantine, which could be of it, is the candle of 2023-10-29 01:00" in waits.evidence
    assert is_sound(audit(stores))
    account_for_loads(stores, None, "test")
    judged = slots_of(stores, HOURS)
    assert judged.keys() == {both[0]}
    assert judged[both[0]] in BLAMED - {AbsenceKind.PENDING}
    with stores.warehouse.begin() as connection:
        (candle,) = read_candles(
            connection, known_series(connection)[HOURS], TimeRange(both[1], both[1] + timedelta(hours=1))
        ).to_pylist()
    assert candle["flags"] & Flag.RELEASED
    load_again = [*rows[:-1], f"{rows[-1]}.5"]
    load(stores, tmp_path, HOURS, load_again, "corrected.csv")
    assert slots_of(stores, HOURS) == judged
    (row,) = quarantined(stores)
    assert (row.open_time, row.later_open_time, row.state) == (both[1], None, "released")
    assert is_sound(audit(stores))


def test_a_row_is_not_released_over_a_candle_and_can_be_for_the_other_slot(stores: Stores, tmp_path: Path) -> None:
    """A file in UTC brings one of the two: the other is still refused, and that one is taken."""
    both = [AUTUMN, AUTUMN + timedelta(hours=1)]
    load(stores, tmp_path, HOURS, lines(HOURS, AUTUMN, both[:1]))
    at = f"{both[0]:%Y-%m-%dT%H:%MZ}"
    content = f"date,open,high,low,close,volume\n{at},1,2,1,2,1"
    path = written(tmp_path / "utc.csv", content, to_ms(AUTUMN) + 10**10)
    list(run_import(stores, plan_import(stores, path, HOURS)))
    account_for_loads(stores, None, "test")
    assert slots_of(stores, HOURS) == {both[1]: AbsenceKind.REFUSED}
    (row,) = quarantined(stores)
    assert inspect(stores, row.id).never == ""
    with pytest.raises(DataQualityError, match="the candle of 2023-10-29 00:00 is stored"):
        release(stores, row.id, None, "by hand", both[0])
    release(stores, row.id, None, "by hand", both[1])
    assert slots_of(stores, HOURS) == {}
    assert is_sound(audit(stores))


def test_a_confirmed_row_leaves_both_slots_alone(stores: Stores, tmp_path: Path) -> None:
    """No exchange is asked for either; both stay refused."""
    load(stores, tmp_path, HOURS, lines(HOURS, AUTUMN, [AUTUMN]))
    assert all(one.next_probe is not None for one in absent(stores, HOURS))
    (row,) = quarantined(stores)
    confirm(stores, row.id, None)
    assert [(one.kind, one.next_probe) for one in absent(stores, HOURS)] == [(AbsenceKind.REFUSED, None)]


def test_lost_accounts_of_both_slots_are_mended_as_they_were(stores: Stores, tmp_path: Path) -> None:
    """The audit finds that nothing is recorded of the slots, and the row says why again."""
    load(stores, tmp_path, HOURS, lines(HOURS, AUTUMN, [AUTUMN]))
    before = tables_of(stores)["absences"]
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM absences")
    assert not is_sound(audit(stores))
    mend(stores, audit(stores))
    kinds = slots_of(stores, HOURS)
    assert kinds == dict.fromkeys([AUTUMN, AUTUMN + timedelta(hours=1)], AbsenceKind.REFUSED)
    assert len(tables_of(stores)["absences"]) == len(before)


def test_a_rebuilt_warehouse_refuses_both_slots_once_the_file_is_imported_again(stores: Stores, tmp_path: Path) -> None:
    """The archive has no refused rows, so that they come back with the file, and with them what the slots are."""
    rows = lines(HOURS, AUTUMN, [AUTUMN])
    load(stores, tmp_path, HOURS, rows)
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "TRUNCATE quarantine, absences, absence_changes, loads, checkpoints, quality, candles"
        )
    assert run_rebuild(stores, plan_rebuild(stores)) == []
    both = [AUTUMN, AUTUMN + timedelta(hours=1)]
    assert slots_of(stores, HOURS).keys() == set(both)
    load(stores, tmp_path, HOURS, rows)
    assert slots_of(stores, HOURS) == dict.fromkeys(both, AbsenceKind.REFUSED)
    assert is_sound(audit(stores))


def test_an_inspection_shows_both_places(stores: Stores, tmp_path: Path) -> None:
    """The candles around each, and the command for either."""
    load(stores, tmp_path, HOURS, lines(HOURS, AUTUMN, [AUTUMN]))
    (row,) = quarantined(stores)
    console = Console(width=200)
    with console.capture() as captured:
        for part in inspection(inspect(stores, row.id)):
            console.print(part)
    shown = " ".join(captured.get().split())
    assert "coinbase:BTC/USD:1h 2023-10-29 00:00 or 01:00" in shown
    assert f"release {row.id} --at 2023-10-29T00:00 or --at 2023-10-29T01:00 --note" in shown
    assert "> 2023-10-29 00:00" in shown
    assert "> 2023-10-29 01:00" in shown
    (of_script,) = json.loads(json.dumps(quarantine_json([row])))
    assert of_script["later_open_time"].startswith("2023-10-29T01:00")


def test_an_exchange_that_is_asked_again_fills_a_slot_and_unsays_nothing(stores: Stores, tmp_path: Path) -> None:
    """Silent about both, as a repair may find it, it leaves both refused; with one candle, the other."""
    series = Series.parse("binance:BTC/USDT:1h")
    load(stores, tmp_path, series, lines(series, AUTUMN, [AUTUMN]))
    day, both = TimeRange(AUTUMN, AUTUMN + DAY), [AUTUMN, AUTUMN + timedelta(hours=1)]
    for filled in ([], both[:1]):
        slots = [*filled, *(AUTUMN + timedelta(hours=n) for n in range(2, 24))]
        put_pages(stores.raw, series, day, [kline(to_ms(at)) for at in slots], asked_at_ms=day.end_ms + 10**9)
        clean_pages(stores, Partition(series, day))
        put_into_stores(stores, Partition(series, day), f"repair {len(filled)}")
        account_for_loads(stores, None, "test")
        assert slots_of(stores, series) == dict.fromkeys(both[len(filled) :], AbsenceKind.REFUSED)
        assert is_sound(audit(stores))
