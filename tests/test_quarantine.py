"""The way out of quarantine: a row that a person releases is a candle, and stays one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from etl.audit import audit, is_sound
from etl.errors import ChandlerError, ConfigError, DataQualityError
from etl.ingest import clean_pages, load
from etl.quarantine import confirm, inspect, release
from etl.schema import AbsenceKind, Flag, to_columns
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import from_ms, to_ms
from etl.warehouse import (
    Absence,
    Quarantined,
    Wanted,
    find_quarantined,
    known_series,
    read_absences,
    read_candles,
    read_checkpoints,
    read_quality,
    read_quarantine,
    read_revisions,
    unannounced_loads,
)
from tests.conftest import BTC
from tests.markets import kline, put_pages
from tests.snapshots import archive_of

MINUTE_MS = 60_000
DAY = TimeRange(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
AT = 100
WILD: dict[str, Any] = {"low": "60.0", "high": "90.0"}  # open and close are at 100


def _ms(minute: int) -> int:
    return DAY.start_ms + minute * MINUTE_MS


def _load(stores: Stores, *rows: list[Any], run: str = "test", asked_after_ms: int = 10**9) -> None:
    """Load a day of sound minutes, with `rows` in the place of those at their times."""
    taken = {int(float(row[0])) // MINUTE_MS for row in rows}
    sound = [kline(_ms(minute)) for minute in range(1440) if _ms(minute) // MINUTE_MS not in taken]
    put_pages(stores.raw, BTC, DAY, [*sound, *rows], asked_at_ms=DAY.end_ms + asked_after_ms)
    clean_pages(stores, Partition(BTC, DAY))
    load(stores, Partition(BTC, DAY), run, is_announced=True)


def _rows(stores: Stores) -> list[Quarantined]:
    with stores.warehouse.begin() as connection:
        return read_quarantine(connection, Wanted())[::-1]


def _candle(stores: Stores, minute: int = AT) -> dict[str, Any] | None:
    span = TimeRange.from_ms(_ms(minute), _ms(minute + 1))
    with stores.warehouse.begin() as connection:
        candles = read_candles(connection, known_series(connection)[BTC], span)
    assert stores.archive.read(BTC, span).equals(candles), "archive and warehouse hold the same"
    return {name: values[0] for name, values in to_columns(candles).items()} if candles.num_rows else None


def _absences(stores: Stores) -> list[Absence]:
    with stores.warehouse.begin() as connection:
        return read_absences(connection, known_series(connection)[BTC])


def test_a_released_row_is_a_candle_like_any_other(stores: Stores) -> None:
    """It is stored, archived, counted and told of; its absence ends; and the account is sound."""
    _load(stores, kline(_ms(AT), **WILD))
    (row,) = _rows(stores)
    assert [(a.kind, a.span.start) for a in _absences(stores)] == [(AbsenceKind.REFUSED, from_ms(_ms(AT)))]
    report = release(stores, row.id, "the wick was real", "by hand")
    assert (report.new, report.revised, report.absent) == (1, 0, 0)
    candle = _candle(stores)
    assert candle is not None
    assert (candle["low"], candle["high"], candle["quote_volume"], candle["trades"]) == (60.0, 90.0, 550.25, 12)
    assert candle["flags"] & Flag.RELEASED
    assert candle["flags"] & Flag.OHLC_TOLERATED, "what rules say of it stands beside"
    assert _absences(stores) == []
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        (checkpoint,) = read_checkpoints(connection, series_id)
        (quality,) = read_quality(connection, series_id).values()
        (told,) = unannounced_loads(connection)
        decided = find_quarantined(connection, row.id)
    assert (checkpoint.rows, checkpoint.absent, checkpoint.quarantined) == (1440, 0, 0)
    assert (quality.stored, quality.absent, quality.refused) == (1440, {}, {})
    assert told.time_range == TimeRange.from_ms(_ms(AT), _ms(AT + 1))
    assert decided is not None
    assert (decided.state, decided.note) == ("released", "the wick was real")
    assert decided.decided_at is not None
    assert is_sound(audit(stores))


def test_what_was_released_is_not_undone_by_a_fetch_that_refuses_it_again(stores: Stores) -> None:
    """The same row comes again and is refused again: nothing changes, neither in the stores nor in the decision."""
    wild = kline(_ms(AT), **WILD)
    _load(stores, wild)
    (row,) = _rows(stores)
    release(stores, row.id, None, "by hand")
    released, files = _candle(stores), archive_of(stores)
    _load(stores, wild, run="later")
    assert _candle(stores) == released
    assert archive_of(stores) == files
    assert _absences(stores) == []
    assert [(one.id, one.state) for one in _rows(stores)] == [(row.id, "released")]
    assert is_sound(audit(stores))


def test_a_row_released_over_a_stored_candle_revises_it_for_good(stores: Stores) -> None:
    """The candle that came later leaves a revision, and comes in vain each time, until the exchange changes it."""
    first, second = kline(_ms(AT), 100.0), kline(_ms(AT), 101.0)
    _load(stores, first, second)
    (row,) = _rows(stores)
    assert row.rule == "superseded"
    report = release(stores, row.id, None, "by hand")
    assert (report.new, report.revised) == (0, 1)
    for again in ([first, second], [second]):
        _load(stores, *again, run="later")
        candle = _candle(stores)
        assert candle is not None
        assert candle["open"] == 100.0
        assert candle["flags"] & (Flag.RELEASED | Flag.REVISED) == Flag.RELEASED | Flag.REVISED
    _load(stores, kline(_ms(AT), 102.0), run="corrected")
    candle = _candle(stores)
    assert candle is not None
    assert candle["open"] == 102.0, "what the exchange had not said before counts"
    assert not candle["flags"] & Flag.RELEASED, "this value was not released"
    with stores.warehouse.begin() as connection:
        revisions = read_revisions(connection)
    assert [(one.number, one.run, one.changed["open"]) for one in revisions] == [
        (2, "corrected", (100.0, 102.0)),
        (1, "by hand", (101.0, 100.0)),
    ]
    assert is_sound(audit(stores))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (kline(_ms(AT), close=None), "no number"),
        (kline(_ms(AT), low="-1"), "price of zero or below"),
        (kline(_ms(AT), volume="-5"), "amount below zero"),
        (kline(_ms(AT), low="90", high="80"), "its high is below its low"),
        (kline(_ms(AT), **WILD, volume="-5"), "is refused by negative_amount too: volume -5.0"),
        ([_ms(AT)], "a value that it needs is missing"),
        (kline(_ms(AT))[:5], "a value that it needs is missing"),
        ([float(_ms(AT)), *kline(_ms(AT), **WILD)[1:]], "is refused by ohlc too"),
        ([_ms(AT) + 0.5, *kline(_ms(AT))[1:]], "does not say which candle"),
    ],
)
def test_what_can_be_no_candle_is_not_released(row: list[Any], why: str, stores: Stores) -> None:
    """A row that no store could hold, or that breaks another rule besides, stays where it is, and it is said why."""
    _load(stores, row)
    (refused,) = _rows(stores)
    with pytest.raises(DataQualityError, match=why):
        release(stores, refused.id, None, "by hand")
    assert _candle(stores) is None
    assert _rows(stores) == [refused]
    assert is_sound(audit(stores))


def test_a_row_off_the_grid_is_the_candle_of_its_slot_if_nothing_else_came_for_it(stores: Stores) -> None:
    """Alone in its slot it can be released, however often it came; beside another row or a stored candle it cannot."""
    alone, sound = kline(_ms(AT) + 14_838), kline(_ms(AT + 9))
    again = [float(cell) if isinstance(cell, str) else cell for cell in alone]  # as an archive writes it
    pair = [kline(_ms(AT + 3) + 1), kline(_ms(AT + 3) + 2)]
    _load(stores, alone, again, *pair, sound, kline(_ms(AT + 9) + 59_000))
    by_time = {row.open_time: row for row in _rows(stores)}
    for row, why in (
        (pair[0], "is of the same slot"),
        (pair[1], "is of the same slot"),
        ([_ms(AT + 9) + 59_000], "stored"),
    ):
        refused = by_time[from_ms(row[0])]
        assert why in inspect(stores, refused.id).never
        with pytest.raises(DataQualityError, match=why):
            release(stores, refused.id, None, "by hand")
    assert all(row.state == "open" for row in _rows(stores)), "nothing is decided"
    refused = by_time[from_ms(alone[0])]
    found = inspect(stores, refused.id)
    assert found.never == ""
    assert to_columns(found.around)["open_time"][0] == _ms(AT - 30)
    assert release(stores, refused.id, "late by a quarter of a minute", "by hand").new == 1
    candle = _candle(stores)
    assert candle is not None
    assert (candle["open_time"], candle["quote_volume"]) == (_ms(AT), 550.25)
    assert [(a.kind, a.span.start) for a in _absences(stores)] == [(AbsenceKind.REFUSED, from_ms(_ms(AT + 3)))]
    assert is_sound(audit(stores))


def test_a_torn_row_is_the_candle_of_its_slot_if_its_values_can_be_read(stores: Stores) -> None:
    """Torn behind its volume it lacks nothing that a candle needs; beside a stored candle it is none."""
    torn, beside = kline(_ms(AT))[:6], kline(_ms(AT + 1))
    _load(stores, torn, beside, [str(_ms(AT + 1)), *kline(_ms(AT + 1), 105.0)[1:]])
    first, second = sorted(_rows(stores), key=lambda row: row.open_time or DAY.start)
    assert (first.rule, inspect(stores, first.id).never) == ("shape", "")
    assert "stored" in inspect(stores, second.id).never
    assert release(stores, first.id, None, "by hand").new == 1
    candle = _candle(stores)
    assert candle is not None
    assert (candle["close"], candle["volume"], candle["trades"]) == (100.1, 5.5, -1)
    with pytest.raises(DataQualityError, match="stored"):
        release(stores, second.id, None, "by hand")
    assert _absences(stores) == []
    assert is_sound(audit(stores))


def test_a_refusal_off_the_grid_can_be_confirmed(stores: Stores) -> None:
    """Two rows of a slot are one absence, which is left alone once both are confirmed, and not before its neighbour."""
    _load(stores, kline(_ms(AT) + 1), kline(_ms(AT) + 2), kline(_ms(AT + 1) + 1))
    first, second, neighbour = _rows(stores)
    for row, is_left_alone in ((first, False), (second, False), (neighbour, True)):
        confirm(stores, row.id, None)
        (absence,) = _absences(stores)
        assert (absence.next_probe is None) == is_left_alone


def test_a_forming_row_is_not_released(stores: Stores) -> None:
    """It would be frozen in the middle of its minute; its closed candle comes by itself."""
    _load(stores, asked_after_ms=-MINUTE_MS // 2)
    (row,) = _rows(stores)
    with pytest.raises(DataQualityError, match="had not closed"):
        release(stores, row.id, None, "by hand")


def test_a_confirmed_refusal_is_left_alone(stores: Stores) -> None:
    """Nobody asks for it again, neither at once nor after a later load; it may still be released."""
    rows = [kline(_ms(minute), **WILD) for minute in (AT, AT + 1)]
    _load(stores, *rows)
    first, second = _rows(stores)
    confirm(stores, first.id, None)
    (absence,) = _absences(stores)
    assert absence.next_probe is not None, "its neighbour in the same stretch is still to be asked for"
    confirm(stores, second.id, "a test market")
    for _ in range(2):
        (absence,) = _absences(stores)
        assert absence.next_probe is None
        _load(stores, *rows, run="later")
    with pytest.raises(ConfigError, match=r"confirmed at .* \(a test market\)"):
        confirm(stores, second.id, None)
    release(stores, second.id, "it was real", "by hand")
    assert _candle(stores, AT + 1) is not None
    for decide_again in (lambda: release(stores, second.id, None, "x"), lambda: confirm(stores, second.id, None)):
        with pytest.raises(ConfigError, match=r"released at .* \(it was real\); it is a candle now"):
            decide_again()
    assert is_sound(audit(stores))


def test_a_load_that_fails_decides_nothing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision is in the transaction of the candle: with it, it is not there either."""
    _load(stores, kline(_ms(AT), **WILD))
    (row,) = _rows(stores)
    with monkeypatch.context() as broken:
        broken.setattr("etl.warehouse.load.Load._checkpoint", _fail)
        with pytest.raises(ChandlerError, match="on purpose"):
            release(stores, row.id, None, "by hand")
    assert _rows(stores) == [row]
    release(stores, row.id, None, "by hand")
    assert is_sound(audit(stores))


def _fail(*arguments: object, **more: object) -> None:
    raise ChandlerError("on purpose")


def test_an_inspection_shows_what_there_is_to_judge_by(stores: Stores) -> None:
    """The rule's reason, the values by column, and what is stored around the row."""
    _load(stores, kline(_ms(AT), **WILD), [_ms(AT + 1)])
    wild, torn = _rows(stores) if _rows(stores)[0].rule == "ohlc" else _rows(stores)[::-1]
    found = inspect(stores, wild.id)
    assert "ccxt/issues/2049" in found.reason
    assert found.never == ""
    assert found.row.cells is not None
    assert (found.row.cells["low"], found.row.cells["trades"]) == ("60.0", 12)
    times = to_columns(found.around)["open_time"]
    assert times.tolist() == [_ms(m) for m in range(AT - 30, AT + 31) if m not in (AT, AT + 1)]
    assert to_ms(DAY.start) < times[0]
    assert "No rule could look" in inspect(stores, torn.id).reason
    with pytest.raises(ConfigError, match="no row 999"):
        inspect(stores, 999)
