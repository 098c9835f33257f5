"""A file that ends inside the hour that the clock shows twice says of no slot more than that a row may be of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from etl.accounting import account_for_loads
from etl.audit import audit, is_sound, mend
from etl.cli import whole_app
from etl.errors import ChandlerError, DataQualityError, StoreError
from etl.extract.files.times import to_zone
from etl.importing import plan_import, run_import
from etl.ingest import clean_pages
from etl.ingest import load as put_into_stores
from etl.loading import put
from etl.quarantine import Reading, confirm, inspect, release, undecided_rows
from etl.rebuild import plan_rebuild, run_rebuild
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange, subtract
from etl.show import inspection, inspection_json
from etl.stores import Partition, Stores
from etl.timeframe import to_ms
from etl.warehouse import LoadReport, Lookback, begin_load, covered_ranges, known_series, read_candles, unjudged_loads
from tests.extract.test_candle_files import written
from tests.markets import kline, put_pages
from tests.test_doubled_hour import AUTUMN, DAY, ZONE, absent, lines, load, quarantined, slots_of

SERIES = Series.parse("binance:BTC/USDT:15m")
WIDTH, HOUR = timedelta(minutes=15), timedelta(hours=1)
FIRST = [AUTUMN, AUTUMN + WIDTH]
"""The slots of the file's last two rows, if its clock was not set back yet."""
SECOND = [AUTUMN + HOUR, AUTUMN + HOUR + WIDTH]
BETWEEN = [AUTUMN + 2 * WIDTH, AUTUMN + 3 * WIDTH]
LAST_DAY = TimeRange(AUTUMN, AUTUMN + DAY)
LOST = "TRUNCATE quarantine, absences, absence_changes, loads, checkpoints, quality, candles"


def until_half_past(stores: Stores, tmp_path: Path) -> list[int]:
    """Import a file whose last two rows are of 02:00 and 02:15 in Berlin; return the rows' numbers in quarantine."""
    assert load(stores, tmp_path, SERIES, lines(SERIES, AUTUMN)[: 2 * DAY // WIDTH + 2]) == {"shape": 2}
    return [row.id for row in quarantined(stores)]


def of_kind(stores: Stores, kind: AbsenceKind) -> list[datetime]:
    """Return the absent slots of a kind, ascending."""
    return sorted(at for at, its_kind in slots_of(stores, SERIES).items() if its_kind is kind)


def unloaded(stores: Stores) -> list[datetime]:
    """Return the slots of the file and of the doubled hours that no checkpoint covers, so that they are asked for."""
    whole = TimeRange(AUTUMN - 2 * DAY, AUTUMN + 2 * HOUR)
    with stores.warehouse.begin() as connection:
        covered = covered_ranges(connection, known_series(connection)[SERIES])
    return [at for span in subtract(whole, covered) for at in slots_in(span)]


def slots_in(span: TimeRange) -> list[datetime]:
    """Return the slots of a range."""
    return [span.start + n * WIDTH for n in range(span.count(SERIES.timeframe))]


def stored(stores: Stores) -> list[datetime]:
    """Return when the candles of the doubled hours open that are stored."""
    with stores.warehouse.begin() as connection:
        candles = read_candles(connection, known_series(connection)[SERIES], TimeRange(AUTUMN, AUTUMN + 2 * HOUR))
    return list(candles.column("open_time").to_pylist())


def ask(stores: Stores, missing: Sequence[datetime] = (), series: Series = SERIES, day: TimeRange = LAST_DAY) -> None:
    """Load a day from the exchange, which lacks some candles."""
    put_pages(stores.raw, series, day, [kline(to_ms(at)) for at in slots_in(day) if at not in missing])
    clean_pages(stores, Partition(series, day))
    put_into_stores(stores, Partition(series, day), "asked", is_history=True)
    account_for_loads(stores, None, "test")


@pytest.mark.parametrize(
    ("reading", "known", "others"), [(Reading.FIRST, FIRST, SECOND), (Reading.SECOND, SECOND, FIRST)]
)
def test_slots_that_no_row_is_of_after_all_are_asked_for(
    reading: Reading, known: list[datetime], others: list[datetime], stores: Stores, tmp_path: Path
) -> None:
    """Row by row, and after a rebuild from the archive; what the exchange has of them fills them."""
    rows = until_half_past(stores, tmp_path)
    assert unloaded(stores) == slots_in(TimeRange(AUTUMN, AUTUMN + 2 * HOUR)), "nothing is vouched for"
    for done, number in enumerate(rows, 1):
        assert release(stores, number, None, "by hand", reading).new == 1
        account_for_loads(stores, None, "test")
        assert stored(stores) == known[:done]
        assert of_kind(stores, AbsenceKind.REFUSED) == sorted([*known[done:], *others[done:]])
        assert of_kind(stores, AbsenceKind.NOT_REQUESTED) == sorted([*others[:done], *BETWEEN])
        assert set(others) <= set(unloaded(stores))
        assert is_sound(audit(stores))
    why = [one.evidence for one in absent(stores, SERIES) if one.span.start == others[0]]
    assert why == [
        f"row {rows[0]} of quarantine, which could be of it, is the candle of {known[0]:%Y-%m-%d %H:%M}, "
        "and no run has requested it"
    ]
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(LOST)
    assert run_rebuild(stores, plan_rebuild(stores)) == []
    assert stored(stores) == known
    assert set(others) <= set(unloaded(stores))
    assert is_sound(audit(stores))
    ask(stores, missing=others[1:])
    assert set(slots_of(stores, SERIES)) == set(others[1:])
    assert not of_kind(stores, AbsenceKind.NOT_REQUESTED)
    assert is_sound(audit(stores))


@pytest.mark.parametrize("is_end", [True, False])
def test_slots_between_doubts_and_what_is_loaded_are_accounted_for(
    is_end: bool, stores: Stores, tmp_path: Path
) -> None:
    """A file that lacks lines beside those that may be of two slots says nothing of them; an audit counts them."""
    rows = lines(SERIES, AUTUMN)
    last = 2 * DAY // WIDTH
    # 02:15 of the first pass alone, with nothing at 02:00; or of the second pass, with nothing until 03:00.
    kept = [*rows[:last], rows[last + 1]] if is_end else [rows[last + 5], *rows[last + 8 :]]
    assert load(stores, tmp_path, SERIES, kept) == {"shape": 1}
    start, end = (AUTUMN, AUTUMN + HOUR + 2 * WIDTH) if is_end else (AUTUMN + WIDTH, AUTUMN + 2 * HOUR)
    doubted = [AUTUMN + WIDTH, AUTUMN + HOUR + WIDTH]
    assert of_kind(stores, AbsenceKind.REFUSED) == doubted
    untold = [at for at in slots_in(TimeRange(start, end)) if at not in doubted]
    assert of_kind(stores, AbsenceKind.NOT_REQUESTED) == untold
    assert is_sound(audit(stores))
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM absences WHERE kind = 'not_requested'")
    assert not is_sound(audit(stores)), "slots that are in no account are no sound account"
    mend(stores, audit(stores))
    assert of_kind(stores, AbsenceKind.NOT_REQUESTED) == untold
    assert is_sound(audit(stores))


def test_what_an_exchange_was_asked_for_is_judged_and_not_asked_for_again(stores: Stores, tmp_path: Path) -> None:
    """Silent of both slots it leaves both refused; then a release lets the other be judged as a silence of it."""
    first, second = until_half_past(stores, tmp_path)
    ask(stores, missing=[FIRST[0], SECOND[0]])
    assert of_kind(stores, AbsenceKind.REFUSED) == [FIRST[0], SECOND[0]]
    with pytest.raises(DataQualityError, match="the candle of 2023-10-29 00:15 is stored"):
        release(stores, second, None, "by hand", Reading.FIRST)
    release(stores, first, None, "by hand", Reading.SECOND)
    account_for_loads(stores, None, "test")
    (kind,) = slots_of(stores, SERIES).values()
    assert kind in {AbsenceKind.OUTAGE, AbsenceKind.HALTED, AbsenceKind.NO_TRADES}
    assert unloaded(stores) == []
    assert is_sound(audit(stores))


def test_a_confirmed_row_leaves_its_slots_refused_and_unvouched(stores: Stores, tmp_path: Path) -> None:
    """No probe is due for them; the other row's are as before, and the same file again changes nothing."""
    first, _ = until_half_past(stores, tmp_path)
    confirm(stores, first, "a test")
    due = {one.span.start: one.next_probe is not None for one in absent(stores, SERIES)}
    assert (due[FIRST[0]], due[SECOND[0]]) == (True, True), "one stretch with the other row's"
    assert of_kind(stores, AbsenceKind.REFUSED) == [*FIRST, *SECOND]
    path = written(tmp_path / "renamed.csv", (tmp_path / "local.csv").read_bytes(), to_ms(AUTUMN) + 10**10)
    list(run_import(stores, plan_import(stores, path, SERIES, to_zone(ZONE))))
    assert of_kind(stores, AbsenceKind.REFUSED) == [*FIRST, *SECOND]
    assert set(unloaded(stores)) == {
        *FIRST,
        *BETWEEN,
        *SECOND,
        *slots_in(TimeRange(SECOND[1] + WIDTH, AUTUMN + 2 * HOUR)),
    }
    assert is_sound(audit(stores))


def test_an_audit_that_mends_vouches_for_no_slot_in_doubt(stores: Stores, tmp_path: Path) -> None:
    """Not even where the checkpoint beside it is lost: the archive does not cover it."""
    until_half_past(stores, tmp_path)
    before = unloaded(stores)
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM checkpoints")
    mend(stores, audit(stores))
    assert is_sound(audit(stores))
    assert unloaded(stores) == before
    assert of_kind(stores, AbsenceKind.REFUSED) == [*FIRST, *SECOND]


def test_a_release_that_is_cut_off_can_be_made_again_whatever_came_between(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has the candle by then, and an audit reads it in: it is no other candle of that slot."""
    first, _ = until_half_past(stores, tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("etl.warehouse.load.Load._checkpoint", _fail)
        with pytest.raises(ChandlerError, match="on purpose"):
            release(stores, first, None, "by hand", Reading.FIRST)
    assert not is_sound(audit(stores))
    mend(stores, audit(stores))
    assert is_sound(audit(stores))
    assert stored(stores) == FIRST[:1]
    assert release(stores, first, None, "by hand", Reading.FIRST).new == 0
    assert of_kind(stores, AbsenceKind.NOT_REQUESTED) == [*BETWEEN, SECOND[0]]
    assert [row.state for row in quarantined(stores)] == ["released", "open"]
    assert is_sound(audit(stores))


def _fail(*arguments: object, **more: object) -> None:
    raise ChandlerError("on purpose")


def test_a_doubled_hour_may_lie_across_midnight(stores: Stores, tmp_path: Path) -> None:
    """In Baku, until 2015, 04:00 was there at 23:00 and at midnight: a later load of the next day knows the rows."""
    midnight = datetime(2015, 10, 25, tzinfo=UTC)
    zone, start = to_zone("Asia/Baku"), midnight - timedelta(days=1)
    slots = [start + n * WIDTH for n in range(23 * 4 + 2)]
    content = ["date,open,high,low,close,volume", *(f"{at.astimezone(zone):%Y-%m-%d %H:%M},1,2,1,2,1" for at in slots)]
    path = written(tmp_path / "baku.csv", "\n".join(content), to_ms(midnight) + 10**10)
    list(run_import(stores, plan_import(stores, path, SERIES, zone)))
    both = [[midnight - HOUR, midnight - HOUR + WIDTH], [midnight, midnight + WIDTH]]
    assert [list(zip(*both, strict=True))] == [[(row.open_time, row.later_open_time) for row in quarantined(stores)]]
    assert of_kind(stores, AbsenceKind.REFUSED) == [*both[0], *both[1]]
    assert is_sound(audit(stores))
    no_lookback = Lookback(SERIES.timeframe, 0, 0)  # which would reach into the day of the first reading
    with begin_load(stores.warehouse, SERIES, TimeRange(midnight, midnight + DAY), "test", no_lookback) as under_way:
        assert [row.times_ms[1] for row in under_way.undecided_rows()] == [to_ms(at) for at in both[1]]
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql("DELETE FROM absences")  # else they tell
    ask(stores, missing=both[1], day=TimeRange(midnight, midnight + DAY))
    assert of_kind(stores, AbsenceKind.REFUSED) == both[1]


def test_many_rows_are_released_by_one_command(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that may be of a range, to one of their readings; a row that cannot be keeps no other, and is told."""
    monkeypatch.setenv("COLUMNS", "200")
    first, second = until_half_past(stores, tmp_path)
    assert [row.id for row in undecided_rows(stores, SERIES)] == [first, second]
    name = ["quarantine", "release", "--series", str(SERIES)]

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(whole_app(), list(arguments))
        told = "" if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
        return done.exit_code, " ".join([*done.output.split(), told]).strip()

    assert "--first or --second" in run(*name)[1]
    assert "name either --series or rows" in run("quarantine", "release", "--first")[1]
    assert "name either --series or rows" in run(*name, str(first), "--first")[1]
    assert "give one of them" in run(*name, "--first", "--at", "2023-10-29T00:00")[1]
    assert "belong to --series" in run("quarantine", "release", str(first), "--first", "--start", "2023-10-29")[1]
    assert "No refused row matches" in run(*name, "--first", "--end", "2023-10-29")[1]
    ask(stores, missing=[FIRST[0], *SECOND])
    status, said = run(*name, "--first", "--start", "2023-10-29T01:00", "--note", "winter")
    assert status == 1
    assert f"row {first} is released: its candle is new" in said
    assert f"row {second} of {SERIES} 2023-10-29 00:15 or 2023-10-29 01:15 cannot be the candle of its slot" in said
    assert run(*name, "--second") == (0, f"row {second} is released: its candle is new")
    assert [(row.open_time, row.note) for row in quarantined(stores)] == [(FIRST[0], "winter"), (SECOND[1], None)]
    assert set(slots_of(stores, SERIES)) == {SECOND[0]}
    assert is_sound(audit(stores))


def test_two_files_may_meet_inside_the_hour(stores: Stores, tmp_path: Path) -> None:
    """Rows of both may be of either slot, and those of one file are released before, or without, the other's."""
    rows = lines(SERIES, AUTUMN)
    half = 2 * DAY // WIDTH + 2
    load(stores, tmp_path, SERIES, rows[:half], "before.csv")
    rest = "\n".join(["date,open,high,low,close,volume", *rows[half + 2 :]])
    path = written(tmp_path / "after.csv", rest, to_ms(AUTUMN) + 10**10)
    list(run_import(stores, plan_import(stores, path, SERIES, to_zone(ZONE))))
    assert [row.open_time for row in quarantined(stores)] == [*FIRST, *FIRST, *BETWEEN], "of the first reading"
    runs = list(dict.fromkeys(row.run for row in quarantined(stores)))
    name = ["quarantine", "release", "--series", str(SERIES), "--run"]
    for run, reading, count in zip(runs, ["--first", "--second"], [2, 4], strict=True):
        assert is_sound(audit(stores))
        done = CliRunner().invoke(whole_app(), [*name, run, reading])
        assert (done.exit_code, done.output.count("is released: its candle is new")) == (0, count)
    assert slots_of(stores, SERIES) == dict.fromkeys(BETWEEN, AbsenceKind.NOT_REQUESTED)
    assert unloaded(stores) == BETWEEN
    assert is_sound(audit(stores))


def test_a_release_complains_of_what_cannot_be_judged_since(stores: Stores, tmp_path: Path) -> None:
    """Its exit status says so too; the candle is stored all the same."""
    first, second = until_half_past(stores, tmp_path)
    other = Series.parse("binance:ETH/USDT:15m")
    ask(stores, missing=BETWEEN, series=other)
    with stores.warehouse.begin() as connection:
        connection.exec_driver_sql(
            f"DELETE FROM checkpoints WHERE series_id = {known_series(connection)[other]}"  # noqa: S608 (a number)
        )
    done = CliRunner().invoke(whole_app(), ["quarantine", "release", str(first), "--at", "2023-10-29T00:00"])
    assert (done.exit_code, "absences cannot be classified" in " ".join(done.output.split())) == (1, True)
    assert [row.state for row in quarantined(stores) if row.id != second] == ["released"]


def test_a_release_that_fails_half_way_leaves_nothing_unjudged(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure ends the command; all that was released before it is judged."""
    first, second = until_half_past(stores, tmp_path)

    def fail_for_the_second(stores: Stores, partition: Partition, *arguments: Any, **more: Any) -> LoadReport:
        if partition.time_range.start == FIRST[1]:
            raise StoreError("on purpose")
        return put(stores, partition, *arguments, **more)

    monkeypatch.setattr("etl.quarantine.put", fail_for_the_second)
    done = CliRunner().invoke(whole_app(), ["quarantine", "release", str(first), str(second), "--first"])
    assert "on purpose" in str(done.exception)
    assert [row.state for row in quarantined(stores)] == ["released", "open"]
    with stores.warehouse.begin() as connection:
        assert unjudged_loads(connection) == []


def test_an_inspection_tells_slots_that_nobody_requested_from_absent_ones(stores: Stores, tmp_path: Path) -> None:
    """Also beyond all that was ever loaded."""
    first, second = until_half_past(stores, tmp_path)
    console = Console(width=200)
    with console.capture() as captured:
        for part in inspection(inspect(stores, second)):
            console.print(part)
    shown = [" ".join(line.strip(" >").split()) for line in captured.get().splitlines()]
    for at in (*FIRST, *SECOND):
        assert f"{at:%Y-%m-%d %H:%M} absent: refused" in shown
    for at in (*BETWEEN, SECOND[1] + WIDTH):
        assert f"{at:%Y-%m-%d %H:%M} not requested" in shown
    release(stores, first, None, "by hand", Reading.FIRST)
    kinds = {span["start"]: span["kind"] for span in inspection_json(inspect(stores, second))["absences"]}
    assert kinds["2023-10-29T01:00:00+00:00"] == "not_requested"


@pytest.mark.parametrize("by", ["day", "month", "all"])
def test_rows_that_state_no_time_are_told_beside_the_quality(by: str, stores: Stores, tmp_path: Path) -> None:
    """No period has them, whatever range is asked for."""
    load(stores, tmp_path, SERIES, [*lines(SERIES, AUTUMN), "yesterday,1,2,1,2,1", "today,1,2,1,2,1"])
    command = ["quality", "--by", by, "--end", "2023-10-29"]
    (report,) = json.loads(CliRunner().invoke(whole_app(), [*command, "--json"]).stdout)
    assert (report["sum"]["refused"], report["undated"]) == ({}, {"shape": 2})
    said = " ".join(CliRunner().invoke(whole_app(), command).output.split())
    assert f"{SERIES}: besides, refused rows that state no time, and are of no day: 2 shape" in said
