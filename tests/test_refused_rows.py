"""Refused rows never take sound ones along: what of a partition is sound is stored, and the rest is accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.audit import audit, is_sound
from etl.errors import QuarantineLimitError
from etl.exchanges import BULK_LAYOUT, EXCHANGES
from etl.extract.kline_csv import csv_rows
from etl.ingest import clean_pages, load
from etl.judging import judge_loads
from etl.schema import AbsenceKind, Origin
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe
from etl.validate import CleanReport, ReceivedRows, clean, explain
from etl.warehouse import known_series, read_absences, read_candles
from tests.markets import kline, put_pages

MONTH = TimeRange(datetime(2017, 12, 1, tzinfo=UTC), datetime(2018, 1, 1, tzinfo=UTC))
DAY = TimeRange(MONTH.start, MONTH.start + timedelta(days=1))
REFUSED = AbsenceKind.REFUSED
OFF_MS = 14_838


def _series(timeframe: Timeframe) -> Series:
    return Series("binance", "BTC/USDT", timeframe)


def _rows(
    timeframe: Timeframe, span: TimeRange, bad: range = range(0), *, off_ms: int = 0, **cells: Any
) -> list[list[Any]]:
    """Return a row for each slot; those of the slots in `bad` are off the grid, or have other cells."""
    return [
        kline(
            span.start_ms + slot * timeframe.ms + (off_ms if slot in bad else 0),
            **(cells if slot in bad else {}),
        )
        for slot in range(span.count(timeframe))
    ]


def _load(stores: Stores, series: Series, span: TimeRange, rows: list[list[Any]], run: str = "test") -> None:
    put_pages(stores.raw, series, span, rows, asked_at_ms=span.end_ms + 10**9)
    clean_pages(stores, Partition(series, span))
    load(stores, Partition(series, span), run)


def _stored(stores: Stores, series: Series, span: TimeRange) -> int:
    with stores.warehouse.begin() as connection:
        return read_candles(connection, known_series(connection)[series], span).num_rows


def _absences(stores: Stores, series: Series) -> list[tuple[AbsenceKind, int, int, str]]:
    """Return each absence: kind, first slot of MONTH, number of slots, evidence."""
    with stores.warehouse.begin() as connection:
        found = read_absences(connection, known_series(connection)[series])
    width_ms = series.timeframe.ms
    return [
        (one.kind, (one.span.start_ms - MONTH.start_ms) // width_ms, one.span.count(series.timeframe), one.evidence)
        for one in found
    ]


@pytest.mark.parametrize("timeframe", [each for each in Timeframe if each.ms >= Timeframe.H2.ms])
def test_one_impossible_row_costs_a_small_partition_no_candle_but_its_own(timeframe: Timeframe, stores: Stores) -> None:
    """A trade at price 0 in a day of few candles: the others are stored, and its slot is refused."""
    series, count = _series(timeframe), DAY.count(timeframe)
    _load(stores, series, DAY, _rows(timeframe, DAY, range(count - 1, count), low="0.00"))
    assert _stored(stores, series, DAY) == count - 1
    ((kind, slot, slots, evidence),) = _absences(stores, series)
    assert (kind, slot, slots) == (REFUSED, count - 1, 1)
    assert "not_positive refused (open 100.0, high 101.0, low 0.0" in evidence
    assert is_sound(audit(stores))


def test_a_partition_with_too_many_refused_rows_fails_and_keeps_its_sound_ones(stores: Stores) -> None:
    """The error comes once all is accounted for: nothing is unfetched, and the load is done when it is run again."""
    series = _series(Timeframe.H1)
    rows = _rows(Timeframe.H1, DAY, range(2, 8), volume="-1")
    with pytest.raises(QuarantineLimitError, match=r"6 of 24 candles came only .* \(25.0 %, limit 5.0 %\)"):
        _load(stores, series, DAY, rows)
    load(stores, Partition(series, DAY), "test")
    assert _stored(stores, series, DAY) == 18
    assert [one[:3] for one in _absences(stores, series)] == [(REFUSED, 2, 6)]
    assert is_sound(audit(stores))


@pytest.mark.parametrize(("count", "is_too_many"), [(5, False), (6, True)])
def test_the_least_number_holds_besides_the_share(count: int, is_too_many: bool, stores: Stores) -> None:
    """Five of six are still a few, and all six are not, whatever their share."""
    series = _series(Timeframe.H4)
    rows = _rows(Timeframe.H4, DAY, range(count), high="1")
    if is_too_many:
        with pytest.raises(QuarantineLimitError):
            _load(stores, series, DAY, rows)
    else:
        _load(stores, series, DAY, rows)
    assert _stored(stores, series, DAY) == 6 - count


def _clean(*pages: list[list[Any]]) -> CleanReport:
    layout = EXCHANGES["binance"].layout
    received = [ReceivedRows(page, DAY.end_ms + 10**9, layout) for page in pages]
    return clean(received, _series(Timeframe.H1), DAY).report


def test_rows_that_were_asked_for_again_count_once() -> None:
    """They count so if they are refused again, alike or otherwise, and not if they are sound the second time."""
    sound = _rows(Timeframe.H1, DAY)
    broken = _rows(Timeframe.H1, DAY, range(6, 9), low="-1")
    otherwise = _rows(Timeframe.H1, DAY, range(6, 9), high="NaN")
    assert _clean(broken).broken == 3
    again = _clean(broken, broken)
    assert (again.broken, again.accepted + again.broken) == (3, 24)
    assert _clean(broken, otherwise).broken == 3
    assert _clean(broken, sound).broken == 0
    assert _clean([*broken, [1], [1], "torn"]).broken == 5, "a row without an open time is one for itself"


def test_a_month_off_the_grid_in_part_is_refused_in_part(stores: Stores) -> None:
    """Candles open seconds late for a week, 22 % of all: the others are stored, and their slots are no outage."""
    series, timeframe = _series(Timeframe.M15), Timeframe.M15
    late = range(288, 288 + 655)
    _load(stores, series, MONTH, _rows(timeframe, MONTH, late, off_ms=OFF_MS))
    assert _stored(stores, series, MONTH) == MONTH.count(timeframe) - len(late)
    evidence = (
        "the exchange sent rows that off_grid refused, the first: open_time 2017-12-04T00:00:14.838000+00:00; see"
    )
    for run in ("judge", "judge again"):
        judge_loads(stores, None, run)
        ((kind, slot, slots, said),) = _absences(stores, series)
        assert (kind, slot, slots) == (REFUSED, late.start, len(late))
        assert said.startswith(evidence)
        assert is_sound(audit(stores))
        # Asked again, the exchange has nothing there: a row did come all the same.
        _load(stores, series, MONTH, [row for slot, row in enumerate(_rows(timeframe, MONTH)) if slot not in late])


def test_a_partition_wholly_off_the_grid_fails_and_is_accounted_for(stores: Stores) -> None:
    """As where a day begins at another hour: the timeframe or the zone may be wrong, so that it is said."""
    series = _series(Timeframe.D1)
    rows = _rows(Timeframe.D1, MONTH, range(31), off_ms=16 * 3_600_000)
    with pytest.raises(QuarantineLimitError, match=r"31 of 31 candles .* off_grid 31\. For example off_grid: open"):
        _load(stores, series, MONTH, rows)
    assert [one[:3] for one in _absences(stores, series)] == [(REFUSED, 0, 31)]
    assert is_sound(audit(stores))


TORN_AT = 7
FAR_MS = DAY.end_ms + 10**9


def _torn(at_ms: int) -> dict[str, Any]:
    """Return rows of the slot that opens at `at_ms` which no rule can look at, by what is wrong with them."""
    whole = kline(at_ms)
    return {
        "the time alone": [at_ms],
        "torn behind its volume": whole[:6],
        "torn within its prices": whole[:3],
        "the time as text": [str(at_ms), *whole[1:]],
        "the time as a fraction": [float(at_ms), *whole[1:]],
        "torn, the time as text": [f"{at_ms}.0", "100.0"],
    }


@pytest.mark.parametrize("what", _torn(0))
def test_the_slot_of_a_torn_row_is_refused_with_the_row_as_evidence(what: str, stores: Stores) -> None:
    """Its time can be read, so that its slot is known: it is no outage, and stays none when judged again."""
    series, at_ms = _series(Timeframe.H1), DAY.start_ms + TORN_AT * Timeframe.H1.ms
    rows = _rows(Timeframe.H1, DAY)
    rows[TORN_AT] = _torn(at_ms)[what]
    _load(stores, series, DAY, rows)
    for _ in range(2):
        judge_loads(stores, None, "judge")
        ((kind, slot, slots, evidence),) = _absences(stores, series)
        assert (kind, slot, slots) == (REFUSED, TORN_AT, 1)
        assert "that shape refused (" in evidence
        _load(stores, series, DAY, [row for slot, row in enumerate(_rows(Timeframe.H1, DAY)) if slot != TORN_AT])
    assert is_sound(audit(stores))


@pytest.mark.parametrize(
    "text",
    [
        *("{at}000,1.0,1.5,0.5", "{at}000,1.0,1.5,0.5,1.0,7.0,{end}999,7.0,9,3.0,3.0", "{at},1,1,1,1,1,1,1,1,1,1,1,1"),
        *("{at}000,1.5,1.0,1.5,1.0,7.0,{end}999,7.0,9,3.0,3.0,0", "{at}000,,1.5,0.5,1.0,7.0,{end}999,7.0,9,3.0,3.0,0"),
        "{at}000,1.0,1.5,0.5,1.0,-7.0,{end}999,7.0,9,3.0,3.0,0",
    ],
)
def test_a_row_of_an_archive_that_no_candle_is_keeps_its_slot(text: str) -> None:
    """Torn, too wide, impossible prices, a missing cell, a volume below zero: whatever the rule, the slot is known."""
    at_ms = DAY.start_ms + TORN_AT * Timeframe.H1.ms
    rows = csv_rows(text.format(at=at_ms, end=at_ms + Timeframe.H1.ms - 1))
    cleaned = clean([ReceivedRows(rows, FAR_MS, BULK_LAYOUT, Origin.BULK)], _series(Timeframe.H1), DAY)
    assert cleaned.candles.num_rows == 0
    assert [(row.open_time_ms, row.origin) for row in cleaned.refused] == [(at_ms, Origin.BULK)]


def test_a_row_that_came_before_the_first_candle_or_after_the_last_is_refused(stores: Stores) -> None:
    """The known listing says nothing of a slot for which a row came."""
    spans = [
        TimeRange.from_ms(DAY.start_ms + slot * Timeframe.H1.ms, DAY.start_ms + (slot + 1) * 3_600_000)
        for slot in (0, 1)
    ]
    refused = {span.start_ms: ("ohlc", "high 1", Origin.API) for span in spans[:1]}
    told = explain(spans, Timeframe.H1, first_ms=DAY.end_ms, end_ms=None, served_from_ms=None, refused=refused)
    assert [kind for _, kind, _ in told] == [REFUSED, AbsenceKind.NOT_LISTED]
    told = explain(spans, Timeframe.H1, first_ms=None, end_ms=DAY.start_ms, served_from_ms=None, refused=refused)
    assert [kind for _, kind, _ in told] == [REFUSED, AbsenceKind.DELISTED]
